package dev.baton.client.jobfile;

/** A job file that cannot be read; the message is one line and names the place. */
public final class JobFileException extends Exception {
  private static final long serialVersionUID = 1L;

  /** {@code place} as FILE:LINE, {@code path} as a.b[0].c or empty. */
  JobFileException(Place place, String path, String problem) {
    super(place + ": " + (path.isEmpty() ? "" : path + ": ") + problem);
  }
}
