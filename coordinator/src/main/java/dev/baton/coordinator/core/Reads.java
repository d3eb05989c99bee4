package dev.baton.coordinator.core;

import java.util.function.Function;

/**
 * Port: reads what has been committed, beside the core's thread. Any thread may; calls block. What
 * is handed to the query is for that call only, and refuses to be written to.
 */
@FunctionalInterface
public interface Reads {
  /** What {@code query} makes of one state of the database. */
  <T> T read(Function<Stores, T> query);
}
