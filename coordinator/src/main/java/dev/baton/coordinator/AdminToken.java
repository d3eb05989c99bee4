package dev.baton.coordinator;

import dev.baton.coordinator.auth.Tokens;
import dev.baton.coordinator.config.ConfigException;
import dev.baton.coordinator.config.DataDir;
import dev.baton.coordinator.core.Token;
import dev.baton.coordinator.store.SqliteDatabase;
import dev.baton.rpc.TokenText;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Optional;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * {@code DIR/admin.token}: a token of role admin, made at the first start. Its secret stays; what
 * it says of the coordinator's key and address is brought up to date at each start.
 */
final class AdminToken {
  private static final Logger log = LoggerFactory.getLogger(AdminToken.class);
  private static final String FILE = "admin.token";

  private final DataDir dataDir;
  private final Optional<TokenText> token;
  private final boolean isNew;

  private AdminToken(DataDir dataDir, Optional<TokenText> token, boolean isNew) {
    this.dataDir = dataDir;
    this.token = token;
    this.isNew = isNew;
  }

  /**
   * Reads it, or makes it, before anybody else writes to the database. The file comes after the
   * database has the token: a crash in between makes a second token.
   */
  static AdminToken open(DataDir dataDir, SqliteDatabase database, Tokens tokens, long nowMs) {
    Path file = dataDir.resolve(FILE);
    if (Files.exists(file)) {
      try {
        TokenText known = TokenText.parse(Files.readString(file, StandardCharsets.UTF_8));
        return new AdminToken(dataDir, Optional.of(known), false);
      } catch (IOException | IllegalArgumentException e) {
        log.warn("{} is left as it is: {}", file, e.getMessage());
        return new AdminToken(dataDir, Optional.empty(), false);
      }
    }
    Tokens.NewToken made = Tokens.create(Token.Role.ADMIN, nowMs, 0);
    database.begin();
    database.tokens().insert(made.stored());
    database.commit();
    tokens.add(made.stored());
    return new AdminToken(dataDir, Optional.of(new TokenText(made.text(), Optional.empty())), true);
  }

  /** Writes the file, where it does not say this already. */
  void publish(TokenText.Origin origin) {
    if (token.isEmpty()) {
      return;
    }
    var whole = new TokenText(token.get().secret(), Optional.of(origin));
    if (!isNew && whole.equals(token.get())) {
      return;
    }
    try {
      dataDir.writeSecret(FILE, whole.text() + "\n");
    } catch (IOException e) {
      throw new ConfigException(
          dataDir.resolve(FILE) + ": cannot be written: " + DataDir.reason(e));
    }
  }
}
