package dev.baton.coordinator.core;

import java.util.List;

/** Tokens. As {@link JobStore}: on the core's thread, inside its transaction. */
public interface TokenStore {
  void insert(Token token);

  List<Token> list();
}
