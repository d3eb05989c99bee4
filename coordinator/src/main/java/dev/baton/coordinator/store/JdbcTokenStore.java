package dev.baton.coordinator.store;

import dev.baton.coordinator.core.Token;
import dev.baton.coordinator.core.TokenStore;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.util.List;

/** Tokens, in SQL. */
final class JdbcTokenStore implements TokenStore {
  private final Sql sql;

  JdbcTokenStore(Sql sql) {
    this.sql = sql;
  }

  @Override
  public void insert(Token token) {
    sql.update(
        "INSERT INTO token (id, sha256, role, created_at_ms, expires_at_ms) VALUES (?, ?, ?, ?, ?)",
        token.id(),
        token.sha256(),
        token.role().name(),
        token.createdAtMs(),
        token.expiresAtMs());
  }

  @Override
  public List<Token> list() {
    return sql.list("SELECT * FROM token ORDER BY created_at_ms, id", JdbcTokenStore::read);
  }

  private static Token read(ResultSet row) throws SQLException {
    return new Token(
        row.getString("id"),
        row.getString("sha256"),
        Token.Role.valueOf(row.getString("role")),
        row.getLong("created_at_ms"),
        row.getLong("expires_at_ms"));
  }
}
