package dev.baton.worker.testing;

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
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.Map;

/** Objects in memory, and the transfer to and from them; a URL is an object's key. */
public final class FakeStore implements ObjectTransfer {
  private final Map<String, byte[]> objects = new HashMap<>();
  private int failures;
  private boolean held;
  private int uploading;
  private int downloads;

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

  synchronized DownloadTicket ticket(String key) {
    byte[] object = objects.getOrDefault(key, new byte[0]);
    return DownloadTicket.newBuilder()
        .setRequest(PresignedRequest.newBuilder().setUrl(key))
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
        objects.put(ticket.getParts(0).getUrl(), Files.readAllBytes(file));
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
      byte[] object = objects.getOrDefault(ticket.getRequest().getUrl(), new byte[0]);
      if (!sha256(object).equals(ticket.getSha256())) {
        throw new DigestMismatchException("expected " + ticket.getSha256());
      }
      Files.write(target, object);
    }
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
