package dev.baton.coordinator.store;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.util.List;

/**
 * Brings a database's schema up to this program's. A migration is a resource {@code
 * db/migration/DIALECT/VNNN__what.sql}; once released it is never changed. Each runs in a
 * transaction together with its row in {@code schema_version}.
 *
 * <p>A runner of our own because a general one took 320 to 500 ms of every start, which is to take
 * 2 s at most with 100,000 jobs.
 */
final class Migrations {
  /** Every migration, in order; the version is the place in this list, from 1. */
  private static final List<String> NAMES = List.of("V001__first.sql", "V002__database.sql");

  private Migrations() {}

  /**
   * Applies what is missing.
   *
   * @param dialect the folder: sqlite
   * @throws NewerDatabaseException where the database is newer than this program
   */
  static void migrate(Sql sql, String dialect) {
    sql.script(
        """
        CREATE TABLE IF NOT EXISTS schema_version (
          version INTEGER PRIMARY KEY,
          name TEXT NOT NULL
        )
        """);
    int current =
        sql.first("SELECT coalesce(max(version), 0) FROM schema_version", row -> row.getInt(1))
            .orElse(0);
    if (current > NAMES.size()) {
      throw new NewerDatabaseException(current, NAMES.size());
    }
    for (int version = current + 1; version <= NAMES.size(); version++) {
      String name = NAMES.get(version - 1);
      sql.script("BEGIN");
      sql.script(read("/db/migration/" + dialect + "/" + name));
      sql.update("INSERT INTO schema_version (version, name) VALUES (?, ?)", version, name);
      sql.script("COMMIT");
    }
  }

  /** The version that this program's schema has. */
  static int latest() {
    return NAMES.size();
  }

  private static String read(String resource) {
    try (var in = Migrations.class.getResourceAsStream(resource)) {
      if (in == null) {
        throw new IllegalStateException("this program lacks its resource " + resource);
      }
      return new String(in.readAllBytes(), StandardCharsets.UTF_8);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }
}
