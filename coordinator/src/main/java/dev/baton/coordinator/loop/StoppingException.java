package dev.baton.coordinator.loop;

/** The coordinator stops and takes no more commands. */
public final class StoppingException extends RuntimeException {
  private static final long serialVersionUID = 1L;

  StoppingException() {
    super("the coordinator stops; try again", null, false, false);
  }
}
