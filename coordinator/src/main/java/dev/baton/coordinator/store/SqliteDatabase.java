package dev.baton.coordinator.store;

import dev.baton.coordinator.core.Stores;
import dev.baton.coordinator.core.TokenStore;
import dev.baton.coordinator.core.Transactions;
import java.nio.file.Path;
import java.sql.DriverManager;
import java.sql.SQLException;

/**
 * One connection to the SQLite file, and the stores over it. For one thread at a time. There is one
 * connection that writes, the core's; any number may read.
 *
 * <p>WAL with {@code synchronous=FULL}: a commit returns after one fsync, and readers never wait
 * for the writer. A transaction that wrote nothing costs no fsync.
 */
public final class SqliteDatabase implements Transactions, AutoCloseable {
  private final Sql sql;
  private final JdbcJobStore jobs;
  private final Stores stores;
  private final JdbcTokenStore tokens;

  private SqliteDatabase(Sql sql) {
    this.sql = sql;
    jobs = new JdbcJobStore(sql);
    stores =
        new Stores(
            jobs, new JdbcUploadStore(sql), new JdbcDatasetStore(sql), new JdbcLogStore(sql));
    tokens = new JdbcTokenStore(sql);
  }

  /** Opens the connection that writes; creates the file and brings its schema up to date. */
  public static SqliteDatabase open(Path file) {
    var sql = connect(file);
    try {
      sql.script(
          """
          PRAGMA journal_mode = WAL;
          PRAGMA synchronous = FULL;
          PRAGMA wal_autocheckpoint = 4000;
          PRAGMA cache_size = -16000;
          PRAGMA temp_store = MEMORY;
          """);
      Migrations.migrate(sql, "sqlite");
      return new SqliteDatabase(sql);
    } catch (RuntimeException e) {
      sql.close();
      throw e;
    }
  }

  /** Opens a connection that only reads a file that {@link #open} has opened before. */
  public static SqliteDatabase openForReading(Path file) {
    var sql = connect(file);
    sql.script(
        """
        PRAGMA query_only = 1;
        PRAGMA cache_size = -4000;
        PRAGMA temp_store = MEMORY;
        """);
    return new SqliteDatabase(sql);
  }

  static Sql connect(Path file) {
    try {
      return new Sql(DriverManager.getConnection("jdbc:sqlite:" + file), file);
    } catch (SQLException e) {
      throw SqliteErrors.translate(e, file);
    }
  }

  @Override
  public void begin() {
    sql.update("BEGIN");
  }

  @Override
  public void commit() {
    sql.update("COMMIT");
  }

  /** SQLite itself has rolled back after some failures, a full disk among them. */
  @Override
  public void rollback() {
    sql.rollback();
  }

  /** Lets the file grow to so many pages of 4 KiB: how tests fill the disk. */
  void limitPages(int pages) {
    sql.script("PRAGMA max_page_count = " + pages);
  }

  JdbcJobStore jobs() {
    return jobs;
  }

  /** What the core keeps. */
  public Stores stores() {
    return stores;
  }

  /** What tells this database from every other, for as long as it exists, in a backup too. */
  public String id() {
    return sql.first("SELECT id FROM database", row -> row.getString(1)).orElseThrow();
  }

  public TokenStore tokens() {
    return tokens;
  }

  @Override
  public void close() {
    sql.close();
  }
}
