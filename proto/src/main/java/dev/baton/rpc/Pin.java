package dev.baton.rpc;

import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.security.PublicKey;
import java.util.Base64;
import java.util.regex.Pattern;

/**
 * How a caller knows that a server is the coordinator it means: by one public key, by a certificate
 * that the system's roots vouch for, or not at all.
 *
 * @param word as a token carries it: a key's SHA-256 over its SubjectPublicKeyInfo in URL-safe
 *     base64 without padding (RFC 7469's pin in another alphabet), {@code ca} or {@code plain}
 */
public record Pin(String word) {
  /** Traffic is not encrypted. */
  public static final Pin PLAIN = new Pin("plain");

  /** A certificate for the host's name, as browsers want it: it may be renewed. */
  public static final Pin CA = new Pin("ca");

  // 256 bits are 42 whole digits and four bits of one more.
  private static final Pattern KEY = Pattern.compile("[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]");

  /**
   * Checks the word.
   *
   * @throws IllegalArgumentException where it is none of the three
   */
  public Pin {
    if (!word.equals("plain") && !word.equals("ca") && !KEY.matcher(word).matches()) {
      throw new IllegalArgumentException(
          "it names no key: expected 43 digits of URL-safe base64, 'ca' or 'plain'");
    }
  }

  /** The pin of a key. */
  public static Pin of(PublicKey key) {
    return new Pin(Base64.getUrlEncoder().withoutPadding().encodeToString(sha256(key)));
  }

  private static byte[] sha256(PublicKey key) {
    byte[] spki = key.getEncoded();
    if (spki == null) {
      throw new IllegalArgumentException("a key of kind " + key.getAlgorithm() + " has no bytes");
    }
    try {
      return MessageDigest.getInstance("SHA-256").digest(spki);
    } catch (NoSuchAlgorithmException e) {
      throw new IllegalStateException("every Java has SHA-256", e);
    }
  }

  /** Whether connections are encrypted. */
  public boolean tls() {
    return !word.equals("plain");
  }

  /** Whether it names one key. */
  public boolean namesKey() {
    return tls() && !word.equals("ca");
  }

  /** Whether it names this key. */
  public boolean matches(PublicKey key) {
    return namesKey()
        && MessageDigest.isEqual(
            word.getBytes(StandardCharsets.US_ASCII),
            Pin.of(key).word().getBytes(StandardCharsets.US_ASCII));
  }

  /**
   * A key as {@code curl --pinnedpubkey} takes it: {@code sha256//} and standard base64.
   *
   * @throws IllegalStateException where it names none
   */
  public String curl() {
    if (!namesKey()) {
      throw new IllegalStateException(word + " names no key");
    }
    return "sha256//" + Base64.getEncoder().encodeToString(Base64.getUrlDecoder().decode(word));
  }

  @Override
  public String toString() {
    return word;
  }
}
