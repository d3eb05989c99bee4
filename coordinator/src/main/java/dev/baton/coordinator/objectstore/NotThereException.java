package dev.baton.coordinator.objectstore;

import dev.baton.coordinator.core.ObjectStoreException;

/** The store does not know the object or the upload. */
final class NotThereException extends ObjectStoreException {
  private static final long serialVersionUID = 1L;

  NotThereException(String message) {
    super(Kind.MISMATCH, message);
  }
}
