package dev.baton.coordinator.auth;

import dev.baton.coordinator.core.Token;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.security.SecureRandom;
import java.util.Arrays;
import java.util.Base64;
import java.util.Collection;
import java.util.HexFormat;
import java.util.Locale;
import java.util.Optional;
import java.util.concurrent.ConcurrentHashMap;

/**
 * The tokens that are good. A token is {@code baton_ID_SECRET}: 8 hexadecimal digits that name it,
 * and 256 random bits in URL-safe base64. Being random it needs no slow hash; it is looked up by
 * its SHA-256, so that the time a look-up takes tells nothing about the token.
 *
 * <p>Any thread may ask; the writer thread adds, once the database has the token.
 */
public final class Tokens {
  private static final SecureRandom RANDOM = new SecureRandom();

  private final ConcurrentHashMap<String, Token> byHash = new ConcurrentHashMap<>();

  public Tokens(Collection<Token> stored) {
    stored.forEach(this::add);
  }

  /** A token made just now: the one time that its text is seen. */
  public record NewToken(String text, Token stored) {}

  /** Makes a token; it counts only once it is stored and added. */
  public static NewToken create(Token.Role role, long nowMs, long expiresAtMs) {
    byte[] id = new byte[4];
    byte[] secret = new byte[32];
    RANDOM.nextBytes(id);
    RANDOM.nextBytes(secret);
    String idText = HexFormat.of().formatHex(id);
    String text =
        "baton_" + idText + "_" + Base64.getUrlEncoder().withoutPadding().encodeToString(secret);
    return new NewToken(text, new Token(idText, sha256(text), role, nowMs, expiresAtMs));
  }

  /** Lets a token in from now on. */
  public void add(Token token) {
    byHash.put(token.sha256(), token);
  }

  /** Whether a token is past its time. */
  public static boolean isExpired(Token token, long nowMs) {
    return token.expiresAtMs() != 0 && nowMs >= token.expiresAtMs();
  }

  /** A role as requests write it: admin, user or worker. */
  public static String label(Token.Role role) {
    return role.name().toLowerCase(Locale.ROOT);
  }

  /** The role written {@code label}, if there is one. */
  public static Optional<Token.Role> role(String label) {
    return Arrays.stream(Token.Role.values()).filter(role -> label(role).equals(label)).findFirst();
  }

  /** What is known of a token, expired or not. */
  public Optional<Token> find(String text) {
    return Optional.ofNullable(byHash.get(sha256(text)));
  }

  /** Lower-case hexadecimal SHA-256 of the UTF-8 bytes. */
  public static String sha256(String text) {
    try {
      return HexFormat.of()
          .formatHex(
              MessageDigest.getInstance("SHA-256").digest(text.getBytes(StandardCharsets.UTF_8)));
    } catch (NoSuchAlgorithmException e) {
      throw new IllegalStateException("every Java has SHA-256", e);
    }
  }
}
