package dev.baton.worker.leaving;

import java.io.IOException;
import java.io.InputStream;
import java.net.HttpURLConnection;
import java.net.Proxy;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.util.Map;

/**
 * The service by which clouds tell a machine about itself, at one address in all of them. It is on
 * the machine's own link, and never asked through a proxy.
 */
final class MetadataService {
  /** Where it is. */
  static final URI ADDRESS = URI.create("http://169.254.169.254");

  private static final int CONNECT_MILLIS = 1_000;
  private static final int READ_MILLIS = 3_000;
  private static final int MAX_BYTES = 1 << 20;

  /**
   * An answer.
   *
   * @param body without blanks around it
   * @param flavor Google's header of that name; empty where there is none
   */
  record Answer(int status, String body, String flavor) {
    boolean ok() {
      return status == HttpURLConnection.HTTP_OK;
    }

    /** What to throw where no such answer can be made sense of. */
    IOException unexpected() {
      return new IOException("the metadata service answers with status " + status);
    }
  }

  private final URI address;

  MetadataService(URI address) {
    this.address = address;
  }

  /**
   * Asks.
   *
   * @throws IOException where nobody answers
   */
  Answer get(String path, Map<String, String> headers) throws IOException {
    return ask("GET", path, headers);
  }

  /** As {@link #get}, by an empty PUT. */
  Answer put(String path, Map<String, String> headers) throws IOException {
    return ask("PUT", path, headers);
  }

  private Answer ask(String method, String path, Map<String, String> headers) throws IOException {
    HttpURLConnection connection =
        (HttpURLConnection) address.resolve(path).toURL().openConnection(Proxy.NO_PROXY);
    try {
      connection.setConnectTimeout(CONNECT_MILLIS);
      connection.setReadTimeout(READ_MILLIS);
      connection.setInstanceFollowRedirects(false);
      connection.setUseCaches(false);
      connection.setRequestMethod(method);
      headers.forEach(connection::setRequestProperty);
      if (method.equals("PUT")) {
        connection.setDoOutput(true);
        connection.setFixedLengthStreamingMode(0);
        connection.getOutputStream().close();
      }
      int status = connection.getResponseCode();
      InputStream stream =
          status < HttpURLConnection.HTTP_BAD_REQUEST
              ? connection.getInputStream()
              : connection.getErrorStream();
      String body =
          stream == null
              ? ""
              : new String(stream.readNBytes(MAX_BYTES), StandardCharsets.UTF_8).strip();
      String flavor = connection.getHeaderField("Metadata-Flavor");
      return new Answer(status, body, flavor == null ? "" : flavor);
    } finally {
      connection.disconnect();
    }
  }
}
