package dev.baton.coordinator.store;

import dev.baton.coordinator.core.DatasetRecord;
import dev.baton.coordinator.core.DatasetStore;
import dev.baton.v1.Dataset;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.util.List;
import java.util.Optional;

/** Data sets, in SQL. */
final class JdbcDatasetStore implements DatasetStore {
  private final Sql sql;

  JdbcDatasetStore(Sql sql) {
    this.sql = sql;
  }

  @Override
  public void insert(DatasetRecord dataset) {
    sql.update(
        "INSERT INTO dataset (name, digest, dataset, object_keys) VALUES (?, ?, ?, ?)",
        dataset.dataset().getName(),
        dataset.dataset().getDigest(),
        dataset.dataset().toByteArray(),
        String.join("\n", dataset.objectKeys()));
  }

  @Override
  public Optional<DatasetRecord> find(String name) {
    return sql.first("SELECT * FROM dataset WHERE name = ?", JdbcDatasetStore::read, name);
  }

  @Override
  public List<DatasetRecord> list() {
    return sql.list("SELECT * FROM dataset ORDER BY name", JdbcDatasetStore::read);
  }

  @Override
  public void delete(String name) {
    sql.update("DELETE FROM dataset WHERE name = ?", name);
  }

  private static DatasetRecord read(ResultSet row) throws SQLException {
    return new DatasetRecord(
        Protos.parse(Dataset.parser(), row.getBytes("dataset")),
        Lines.split(row.getString("object_keys")));
  }
}
