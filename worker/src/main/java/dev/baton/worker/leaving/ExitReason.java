package dev.baton.worker.leaving;

import java.util.Locale;

/** Why a worker has ended in good order. */
public enum ExitReason {
  /** SIGTERM, or Ctrl-C. */
  SIGNAL,
  /** The machine's declared end is near. */
  END,
  /** The cloud takes the machine away. */
  SPOT,
  /** It had nothing to do for too long. */
  IDLE,
  /** The coordinator will not have it any more. */
  REFUSED;

  /** As commands see it. */
  public String word() {
    return name().toLowerCase(Locale.ROOT);
  }
}
