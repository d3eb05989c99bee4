package dev.baton.coordinator.store;

/** The database was written by a newer program than this one. */
public final class NewerDatabaseException extends RuntimeException {
  private static final long serialVersionUID = 1L;

  NewerDatabaseException(int found, int known) {
    super(
        "the database has schema version "
            + found
            + ", this program knows versions up to "
            + known
            + "; start the newer release again");
  }
}
