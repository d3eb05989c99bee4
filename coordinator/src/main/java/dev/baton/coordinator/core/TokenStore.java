package dev.baton.coordinator.core;

import java.util.List;
import java.util.Optional;

/** Tokens. As {@link JobStore}: on the core's thread, inside its transaction. */
public interface TokenStore {
  void insert(Token token);

  Optional<Token> findBySha256(String sha256);

  List<Token> list();
}
