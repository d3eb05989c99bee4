package dev.baton.coordinator.store;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.baton.coordinator.core.Job;
import dev.baton.coordinator.core.JobState;
import dev.baton.coordinator.core.StoreException;
import dev.baton.coordinator.core.Token;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.EnumSet;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The contract on SQLite, and what is SQLite's own. */
final class SqliteStoreTest extends StoreContract {
  @TempDir Path dir;

  @SuppressWarnings("NullAway.Init") // The contract opens it before each test.
  private SqliteDatabase database;

  @Override
  Subject open() {
    database = SqliteDatabase.open(dir.resolve("test.db"));
    return new Subject(database, database.stores());
  }

  @Override
  void close() {
    database.close();
  }

  @Test
  void readersSeeWhatIsCommittedAndWriteNothing() {
    Path file = dir.resolve("test.db");
    try (var readers = new Readers(file)) {
      database.stores().jobs().insert(job(1));
      Optional<Job> before = readers.read(d -> d.jobs().find("job-1"));
      assertThat(before).isEmpty();
      database.commit();
      database.begin();
      Optional<Job> after = readers.read(d -> d.jobs().find("job-1"));
      assertThat(after).contains(job(1));
      assertThatThrownBy(() -> readers.read(d -> d.jobs().insert(job(2))))
          .isInstanceOf(StoreException.class);
      // The connection is none the worse for it.
      List<Job> all = readers.read(d -> d.jobs().list(EnumSet.allOf(JobState.class), 9));
      assertThat(all).hasSize(1);
    }
  }

  @Test
  void refusesADatabaseOfANewerProgram() {
    Path file = dir.resolve("newer.db");
    SqliteDatabase.open(file).close();
    try (var sql = SqliteDatabase.connect(file)) {
      sql.update("INSERT INTO schema_version (version, name) VALUES (999, 'x')");
    }
    assertThatThrownBy(() -> SqliteDatabase.open(file))
        .isInstanceOf(NewerDatabaseException.class)
        .hasMessageContaining("999");
  }

  @Test
  void refusesAFileThatIsNoDatabase() throws Exception {
    Path file = Files.writeString(dir.resolve("text.db"), "not a database, and long ".repeat(99));
    assertThatThrownBy(() -> SqliteDatabase.open(file))
        .isInstanceOf(StoreException.class)
        .hasMessageContaining("not a database");
  }

  @Test
  void afterAFullDiskNothingOfTheTransactionCountsAndWorkGoesOn() {
    Path file = dir.resolve("full.db");
    try (var full = SqliteDatabase.open(file)) {
      full.limitPages(60);
      full.begin();
      full.stores().jobs().insert(job(1));
      full.commit();
      full.begin();
      assertThatThrownBy(
              () -> {
                for (long seq = 2; seq < 5_000; seq++) {
                  full.stores().jobs().insert(job(seq));
                }
              })
          .isInstanceOfSatisfying(StoreException.class, e -> assertThat(e.isNoSpace()).isTrue())
          .hasMessageContaining("no space left");
      full.rollback();
      full.limitPages(100_000);
      full.begin();
      assertThat(full.stores().jobs().lastSeq()).isEqualTo(1);
      full.stores().jobs().insert(job(2));
      full.commit();
    }
  }

  @Test
  void keepsTokens() {
    var token = new Token("id", "hash", Token.Role.WORKER, 1, 2);
    database.tokens().insert(token);
    assertThat(database.tokens().list()).containsExactly(token);
    assertThatThrownBy(
            () -> database.tokens().insert(new Token("id2", "hash", Token.Role.ADMIN, 1, 2)))
        .isInstanceOf(RuntimeException.class);
  }
}
