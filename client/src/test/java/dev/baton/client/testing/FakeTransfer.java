package dev.baton.client.testing;

import dev.baton.transfer.DigestMismatchException;
import dev.baton.transfer.ObjectTransfer;
import dev.baton.transfer.TicketSource;
import dev.baton.transfer.TransferListener;
import dev.baton.v1.CompletedUpload;
import dev.baton.v1.DownloadTicket;
import dev.baton.v1.UploadContent;
import dev.baton.v1.UploadTicket;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.Map;

/** An object store in a map, by URL. */
public final class FakeTransfer implements ObjectTransfer {
  public final Map<String, byte[]> objects = new HashMap<>();

  /** The next upload breaks off. */
  public boolean breakUpload;

  /** Downloads that find bytes of an earlier one and do not match. */
  public boolean mismatchOnce;

  @Override
  public CompletedUpload upload(
      Path file,
      UploadContent content,
      TicketSource<UploadTicket> tickets,
      TransferListener listener)
      throws IOException {
    UploadTicket ticket = tickets.get();
    listener.onBytes(content.getBytes() / 2, content.getBytes());
    if (breakUpload) {
      breakUpload = false;
      throw new IOException("sending " + file.getFileName() + ": connection reset");
    }
    objects.put(ticket.getParts(0).getUrl(), Files.readAllBytes(file));
    listener.onBytes(content.getBytes(), content.getBytes());
    return CompletedUpload.newBuilder()
        .setUploadId(ticket.getUploadId())
        .addEtags("etag-" + content.getSha256())
        .build();
  }

  @Override
  public void download(TicketSource<DownloadTicket> tickets, Path target, TransferListener listener)
      throws IOException {
    byte[] content = objects.getOrDefault(tickets.get().getRequest().getUrl(), new byte[0]);
    Path part = target.resolveSibling(target.getFileName() + ".part");
    if (mismatchOnce) {
      mismatchOnce = false;
      Files.deleteIfExists(part);
      throw new DigestMismatchException("the bytes of " + target + " are not the promised ones");
    }
    Files.write(target, content);
    listener.onBytes(content.length, content.length);
  }
}
