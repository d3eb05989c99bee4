package dev.baton.coordinator.store;

import dev.baton.coordinator.core.JobState;
import dev.baton.coordinator.core.Reads;
import dev.baton.coordinator.core.Stores;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ArrayBlockingQueue;
import java.util.concurrent.BlockingQueue;
import java.util.function.Function;

/**
 * A few connections that only read, beside the one that writes. Any thread may use them; who comes
 * when all are busy waits.
 */
public final class Readers implements Reads, AutoCloseable {
  private static final int CONNECTIONS = 2;

  private final List<SqliteDatabase> all = new ArrayList<>();
  private final BlockingQueue<SqliteDatabase> idle = new ArrayBlockingQueue<>(CONNECTIONS);

  /** Opens them; the file exists, with its schema. */
  public Readers(Path file) {
    for (int i = 0; i < CONNECTIONS; i++) {
      all.add(SqliteDatabase.openForReading(file));
    }
    idle.addAll(all);
  }

  @Override
  public <T> T read(Function<Stores, T> query) {
    return query(database -> query.apply(database.stores()));
  }

  /** How many jobs are in each state that has any. */
  public Map<JobState, Long> countJobs() {
    return query(database -> database.jobs().countByState());
  }

  private <T> T query(Function<SqliteDatabase, T> query) {
    SqliteDatabase database;
    try {
      database = idle.take();
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new IllegalStateException("interrupted while waiting for the database", e);
    }
    try {
      database.begin();
      boolean read = false;
      try {
        T result = query.apply(database);
        database.commit();
        read = true;
        return result;
      } finally {
        if (!read) {
          database.rollback();
        }
      }
    } finally {
      idle.add(database);
    }
  }

  @Override
  public void close() {
    all.forEach(SqliteDatabase::close);
  }
}
