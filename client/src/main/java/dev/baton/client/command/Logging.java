package dev.baton.client.command;

import java.util.logging.ConsoleHandler;
import java.util.logging.Level;
import java.util.logging.LogManager;
import java.util.logging.Logger;

/** Libraries' logs: on standard error with --debug, else nowhere; errors come as exceptions. */
final class Logging {
  private Logging() {}

  static void quiet(boolean debug) {
    LogManager.getLogManager().reset();
    if (debug) {
      ConsoleHandler handler = new ConsoleHandler();
      handler.setLevel(Level.FINE);
      Logger root = Logger.getLogger("");
      root.addHandler(handler);
      root.setLevel(Level.INFO);
    }
  }
}
