package dev.baton.transfer;

import java.io.IOException;

/** Asks the coordinator for a ticket; asked again when URLs have expired. */
@FunctionalInterface
public interface TicketSource<T> {
  /**
   * A ticket whose URLs are fresh.
   *
   * @throws IOException where the coordinator refuses; it is passed on to the caller of the
   *     transfer
   */
  T get() throws IOException;
}
