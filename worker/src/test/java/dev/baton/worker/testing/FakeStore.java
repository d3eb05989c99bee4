package dev.baton.worker.testing;

import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import dev.baton.transfer.DigestMismatchException;
import dev.baton.transfer.ObjectTransfer;
import dev.baton.transfer.TicketSource;
import dev.baton.transfer.TransferListener;
import dev.baton.v1.CompletedUpload;
import dev.baton.v1.DownloadTicket;
import dev.baton.v1.PresignedRequest;
import dev.baton.v1.UploadContent;
import dev.baton.v1.UploadTicket;
import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.Map;

/** Objects in memory, over HTTP for other processes, and a transfer for this one. */
public final class FakeStore implements ObjectTransfer, AutoCloseable {
  private final HttpServer server;
  private final Map<String, byte[]> objects = new HashMap<>();
  private int failures;
  private boolean held;
  private int uploading;
  private int downloads;

  FakeStore() throws IOException {
    server = HttpServer.create(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0), 0);
    server.createContext("/", this::serve);
    server.start();
  }

  @Override
  public void close() {
    server.stop(0);
  }

  // PUT and whole GETs.
  private void serve(HttpExchange exchange) throws IOException {
    try (exchange) {
      String key = exchange.getRequestURI().getPath().substring(1);
      byte[] sent = exchange.getRequestBody().readAllBytes();
      if (exchange.getRequestMethod().equals("PUT")) {
        put(key, sent);
        exchange.getResponseHeaders().add("ETag", "\"e\"");
        exchange.sendResponseHeaders(200, -1);
        return;
      }
      byte[] object;
      synchronized (this) {
        object = objects.getOrDefault(key, new byte[0]);
      }
      exchange.sendResponseHeaders(200, object.length);
      exchange.getResponseBody().write(object);
    }
  }

  /** Where an object lies. */
  PresignedRequest request(String key) {
    return PresignedRequest.newBuilder().setUrl(prefix() + key).build();
  }

  private String prefix() {
    return "http://127.0.0.1:" + server.getAddress().getPort() + "/";
  }

  private String key(PresignedRequest request) {
    return request.getUrl().substring(prefix().length());
  }

  public synchronized void put(String key, byte[] bytes) {
    objects.put(key, bytes.clone());
  }

  public synchronized long size(String key) {
    byte[] object = objects.get(key);
    return object == null ? 0 : object.length;
  }

  /** Flips a byte. */
  public synchronized void damage(String key) {
    byte[] object = objects.get(key);
    if (object == null) {
      throw new IllegalArgumentException(key);
    }
    object[0] ^= 1;
  }

  /** The next transfers fail. */
  public synchronized void fail(int n) {
    failures = n;
  }

  /** Holds uploads up, until it does no longer. */
  public synchronized void hold(boolean hold) {
    held = hold;
    notifyAll();
  }

  /** Uploads under way. */
  public synchronized int uploading() {
    return uploading;
  }

  public synchronized int downloads() {
    return downloads;
  }

  synchronized boolean has(String key) {
    return objects.containsKey(key);
  }

  synchronized DownloadTicket ticket(String key) {
    byte[] object = objects.getOrDefault(key, new byte[0]);
    return DownloadTicket.newBuilder()
        .setRequest(request(key))
        .setBytes(object.length)
        .setSha256(sha256(object))
        .build();
  }

  @Override
  public CompletedUpload upload(
      Path file,
      UploadContent content,
      TicketSource<UploadTicket> tickets,
      TransferListener listener)
      throws IOException, InterruptedException {
    UploadTicket ticket = tickets.get();
    synchronized (this) {
      uploading++;
      try {
        while (held) {
          wait();
        }
        mayFail();
        objects.put(key(ticket.getParts(0)), Files.readAllBytes(file));
      } finally {
        uploading--;
      }
    }
    return CompletedUpload.newBuilder().setUploadId(ticket.getUploadId()).addEtags("e").build();
  }

  @Override
  public void download(TicketSource<DownloadTicket> tickets, Path target, TransferListener listener)
      throws IOException {
    DownloadTicket ticket = tickets.get();
    synchronized (this) {
      mayFail();
      downloads++;
      byte[] object = objects.getOrDefault(key(ticket.getRequest()), new byte[0]);
      if (!sha256(object).equals(ticket.getSha256())) {
        throw new DigestMismatchException("expected " + ticket.getSha256());
      }
      Files.write(target, object);
    }
  }

  /** How many of {@link #fail} are left. */
  public synchronized int failuresLeft() {
    return failures;
  }

  private void mayFail() throws IOException {
    if (failures > 0) {
      failures--;
      throw new IOException("the store does not answer");
    }
  }

  /** In hexadecimal. */
  public static String sha256(byte[] bytes) {
    try {
      return HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(bytes));
    } catch (NoSuchAlgorithmException e) {
      throw new AssertionError(e);
    }
  }
}
