package dev.baton.client.command;

import java.nio.file.Path;
import java.util.Map;

/** Where the client keeps what is no setting: {@code $XDG_STATE_HOME/baton}. */
final class StateFolder {
  private StateFolder() {}

  static Path in(Map<String, String> environment) {
    String state = environment.getOrDefault("XDG_STATE_HOME", "");
    return state.isEmpty()
        ? Path.of(
            environment.getOrDefault("HOME", System.getProperty("user.home")),
            ".local",
            "state",
            "baton")
        : Path.of(state, "baton");
  }
}
