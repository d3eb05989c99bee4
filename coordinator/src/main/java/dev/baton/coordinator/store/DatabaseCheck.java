package dev.baton.coordinator.store;

import dev.baton.coordinator.core.StoreException;
import java.nio.file.Path;
import java.sql.DriverManager;
import java.sql.SQLException;
import java.util.List;
import java.util.Optional;

/** Looks through a database for damage, without changing it; a coordinator may be at work on it. */
public final class DatabaseCheck {
  private DatabaseCheck() {}

  // The first schema knew none.
  private static final int VERSION_WITH_ID = 2;

  /**
   * What was found.
   *
   * @param id of this database, where it has one yet
   * @param version of its schema
   * @param jobs how many it holds
   */
  public record Report(Optional<String> id, int version, long jobs) {}

  /**
   * Reads all of it.
   *
   * @throws StoreException where it is damaged, or no database
   * @throws NewerDatabaseException where this program is too old for it
   */
  public static Report check(Path file) {
    try (Sql sql = connect(file)) {
      List<String> damage = sql.list("PRAGMA quick_check(5)", row -> row.getString(1));
      if (!damage.equals(List.of("ok"))) {
        throw new StoreException(false, "it is damaged: " + String.join("; ", damage), null);
      }
      int version =
          sql.first("SELECT coalesce(max(version), 0) FROM schema_version", row -> row.getInt(1))
              .orElse(0);
      if (version > Migrations.latest()) {
        throw new NewerDatabaseException(version, Migrations.latest());
      }
      long jobs = sql.first("SELECT count(*) FROM job", row -> row.getLong(1)).orElse(0L);
      Optional<String> id =
          version < VERSION_WITH_ID
              ? Optional.empty()
              : sql.first("SELECT id FROM database", row -> row.getString(1));
      return new Report(id, version, jobs);
    }
  }

  private static Sql connect(Path file) {
    try {
      // As a URI, which alone can say that nothing is to be written.
      String uri = "file:" + file.toUri().getRawPath() + "?mode=ro";
      return new Sql(DriverManager.getConnection("jdbc:sqlite:" + uri), file);
    } catch (SQLException e) {
      throw SqliteErrors.translate(e, file);
    }
  }
}
