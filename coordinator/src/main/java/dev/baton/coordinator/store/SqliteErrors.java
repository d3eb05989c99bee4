package dev.baton.coordinator.store;

import dev.baton.coordinator.core.StoreException;
import java.nio.file.Path;
import java.sql.SQLException;
import org.sqlite.SQLiteErrorCode;
import org.sqlite.SQLiteException;

/** Says in the core's words what SQLite has thrown. */
final class SqliteErrors {
  private SqliteErrors() {}

  static StoreException translate(SQLException e, Path file) {
    if (e instanceof SQLiteException sqlite
        && sqlite.getResultCode() == SQLiteErrorCode.SQLITE_FULL) {
      return new StoreException(
          true,
          "no space left on the coordinator's disk: its database %s cannot grow, %d bytes are free; make room there"
              .formatted(file, file.toFile().getUsableSpace()),
          e);
    }
    return new StoreException(false, "the coordinator's database failed: " + firstLine(e), e);
  }

  private static String firstLine(SQLException e) {
    return String.valueOf(e.getMessage()).lines().findFirst().orElse("");
  }
}
