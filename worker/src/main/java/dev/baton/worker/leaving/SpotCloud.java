package dev.baton.worker.leaving;

import java.io.IOException;
import java.util.Optional;

/** A cloud that takes machines back, and says so to them shortly before. Not thread-safe. */
interface SpotCloud {
  /** As people call it. */
  String label();

  /**
   * Whether this machine is one of the cloud's.
   *
   * @throws IOException where nobody answers
   */
  boolean recognises() throws IOException;

  /**
   * What it says of the machine's near end; empty where it says nothing.
   *
   * @throws IOException where it does not answer, or not as it ought to
   */
  Optional<String> notice() throws IOException;
}
