package dev.baton.coordinator.core;

/**
 * Who may call. The token itself is kept nowhere.
 *
 * @param sha256 lower-case hexadecimal, of the token's UTF-8 bytes; unique
 * @param expiresAtMs 0: never
 */
public record Token(String id, String sha256, Role role, long createdAtMs, long expiresAtMs) {

  /** What a token lets its bearer do. */
  public enum Role {
    ADMIN,
    USER,
    WORKER
  }
}
