package dev.baton.transfer;

import java.io.IOException;

/** An object whose bytes are not the ones that were promised. */
public final class DigestMismatchException extends IOException {
  private static final long serialVersionUID = 1L;

  public DigestMismatchException(String message) {
    super(message);
  }
}
