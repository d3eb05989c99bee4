package dev.baton.client.jobfile;

/** A job file that cannot be read; the message is one line and names the place. */
public final class JobFileException extends Exception {
  private static final long serialVersionUID = 1L;

  private static final int LONGEST_PATH = 120;

  /** {@code place} as FILE:LINE, {@code path} as a.b[0].c or empty. */
  JobFileException(Place place, String path, String problem) {
    super(oneLine(place + ": " + (path.isEmpty() ? "" : shortened(path) + ": ") + problem));
  }

  // Paths are made of keys, and those come from the file.
  private static String shortened(String path) {
    return path.length() <= LONGEST_PATH ? path : path.substring(0, LONGEST_PATH) + "...";
  }

  private static String oneLine(String text) {
    return text.replaceAll("\\p{Cntrl}|[\\u0085\\u2028\\u2029]", "?");
  }
}
