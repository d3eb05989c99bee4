package dev.baton.transfer;

import dev.baton.v1.CompletedUpload;
import dev.baton.v1.DownloadTicket;
import dev.baton.v1.UploadContent;
import dev.baton.v1.UploadTicket;
import java.io.IOException;
import java.nio.file.Path;

/**
 * Moves files to and from the object store over presigned URLs. Any number of threads may use it.
 */
public interface ObjectTransfer {

  /**
   * Sends a file, its parts one after the other; tries again what fails in transit, with fresh URLs
   * where they expired.
   *
   * @param content what {@code Contents.describe} said of the file
   * @throws IOException where the store refuses or stays unreachable, or the file is no longer what
   *     was described
   */
  CompletedUpload upload(
      Path file,
      UploadContent content,
      TicketSource<UploadTicket> tickets,
      TransferListener listener)
      throws IOException, InterruptedException;

  /**
   * Fetches an object to {@code target}, which exists afterwards only if its size and SHA-256 are
   * the ticket's. Bytes arrive in {@code target + ".part"}; a call that finds some there resumes
   * behind them.
   *
   * @throws DigestMismatchException where what arrived is not what was promised; nothing is left
   * @throws IOException where the store refuses or stays unreachable
   */
  void download(TicketSource<DownloadTicket> tickets, Path target, TransferListener listener)
      throws IOException, InterruptedException;
}
