package dev.baton.coordinator.config;

/**
 * A flag or a key of the configuration file that is wrong; the message is one line for the user.
 */
public final class ConfigException extends RuntimeException {
  private static final long serialVersionUID = 1L;

  public ConfigException(String message) {
    super(message);
  }
}
