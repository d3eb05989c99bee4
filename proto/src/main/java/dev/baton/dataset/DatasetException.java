package dev.baton.dataset;

import org.jspecify.annotations.Nullable;

/**
 * A data set is not what its format wants: one line that names the file, says what is wrong and
 * what would be right. The user's to mend.
 */
public final class DatasetException extends RuntimeException {
  private static final long serialVersionUID = 1L;

  public DatasetException(String message) {
    this(message, null);
  }

  public DatasetException(String message, @Nullable Throwable cause) {
    super(oneLine(message), cause);
  }

  /** File names come from anywhere: control characters in them must not break the line. */
  private static String oneLine(String message) {
    return message.replaceAll("\\p{Cntrl}", "?");
  }
}
