package dev.baton.coordinator.config;

/** Whether the listeners speak TLS: all of them do, or none. */
public enum Encryption {
  /** Where one of them can be reached from other machines, or a certificate is given. */
  WHERE_NEEDED,
  /** Always. */
  ALWAYS,
  /** Never, though everybody on the way can read along. */
  NEVER
}
