package dev.baton.coordinator.objectstore;

import java.net.URLEncoder;
import java.nio.charset.StandardCharsets;
import java.security.GeneralSecurityException;
import java.security.MessageDigest;
import java.time.Duration;
import java.time.Instant;
import java.time.ZoneOffset;
import java.time.format.DateTimeFormatter;
import java.util.HexFormat;
import java.util.Map;
import java.util.SortedMap;
import java.util.TreeMap;
import java.util.stream.Collectors;
import javax.crypto.Mac;
import javax.crypto.spec.SecretKeySpec;

/**
 * Signs URLs by AWS Signature Version 4 in the query, <a
 * href="https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html">as S3
 * specifies it</a>. Every header handed in is signed: a request that leaves one out, or changes it,
 * is refused. (The minio client would sign the host alone.)
 */
record Presigner(String region, String accessKey, String secretKey) {
  private static final DateTimeFormatter TIME =
      DateTimeFormatter.ofPattern("yyyyMMdd'T'HHmmss'Z'").withZone(ZoneOffset.UTC);

  /**
   * The URL for one request.
   *
   * @param origin scheme, host and port, without a slash at the end
   * @param path beginning with a slash, not encoded
   * @param query what the request is about, not encoded
   * @param headers to be sent with it, names in lower case, besides Host
   */
  String presign(
      String method,
      String origin,
      String path,
      Map<String, String> query,
      Map<String, String> headers,
      Instant now,
      Duration validity) {
    String time = TIME.format(now);
    String date = time.substring(0, 8);
    String scope = date + "/" + region + "/s3/aws4_request";
    SortedMap<String, String> signed = new TreeMap<>(headers);
    signed.put("host", origin.substring(origin.indexOf("//") + 2));
    String signedNames = String.join(";", signed.keySet());

    SortedMap<String, String> parameters = new TreeMap<>();
    query.forEach((name, value) -> parameters.put(encode(name), encode(value)));
    parameters.put("X-Amz-Algorithm", "AWS4-HMAC-SHA256");
    parameters.put("X-Amz-Credential", encode(accessKey + "/" + scope));
    parameters.put("X-Amz-Date", time);
    parameters.put("X-Amz-Expires", Long.toString(validity.toSeconds()));
    parameters.put("X-Amz-SignedHeaders", encode(signedNames));
    String canonicalQuery =
        parameters.entrySet().stream()
            .map(e -> e.getKey() + "=" + e.getValue())
            .collect(Collectors.joining("&"));
    String encodedPath = encode(path).replace("%2F", "/");
    String canonicalRequest =
        String.join(
            "\n",
            method,
            encodedPath,
            canonicalQuery,
            signed.entrySet().stream()
                .map(e -> e.getKey() + ":" + e.getValue() + "\n")
                .collect(Collectors.joining()),
            signedNames,
            "UNSIGNED-PAYLOAD");
    String toSign = String.join("\n", "AWS4-HMAC-SHA256", time, scope, sha256(canonicalRequest));
    byte[] key = hmac(("AWS4" + secretKey).getBytes(StandardCharsets.UTF_8), date);
    for (String part : new String[] {region, "s3", "aws4_request"}) {
      key = hmac(key, part);
    }
    String signature = HexFormat.of().formatHex(hmac(key, toSign));
    return origin + encodedPath + "?" + canonicalQuery + "&X-Amz-Signature=" + signature;
  }

  // Form encoding differs from RFC 3986 in three characters.
  private static String encode(String text) {
    return URLEncoder.encode(text, StandardCharsets.UTF_8)
        .replace("+", "%20")
        .replace("*", "%2A")
        .replace("%7E", "~");
  }

  private static String sha256(String text) {
    try {
      byte[] digest =
          MessageDigest.getInstance("SHA-256").digest(text.getBytes(StandardCharsets.UTF_8));
      return HexFormat.of().formatHex(digest);
    } catch (GeneralSecurityException e) {
      throw new AssertionError("every Java platform has SHA-256", e);
    }
  }

  private static byte[] hmac(byte[] key, String text) {
    try {
      Mac mac = Mac.getInstance("HmacSHA256");
      mac.init(new SecretKeySpec(key, "HmacSHA256"));
      return mac.doFinal(text.getBytes(StandardCharsets.UTF_8));
    } catch (GeneralSecurityException e) {
      throw new AssertionError("every Java platform has HmacSHA256", e);
    }
  }

  /** Without the secret. */
  @Override
  public String toString() {
    return "Presigner[" + region + ", " + accessKey + "]";
  }
}
