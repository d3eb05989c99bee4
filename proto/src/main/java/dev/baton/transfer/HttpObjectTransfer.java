package dev.baton.transfer;

import dev.baton.rpc.Access;
import dev.baton.rpc.PinnedTrust;
import dev.baton.rpc.Proxies;
import dev.baton.v1.CompletedUpload;
import dev.baton.v1.DownloadTicket;
import dev.baton.v1.PresignedRequest;
import dev.baton.v1.UploadContent;
import dev.baton.v1.UploadPart;
import dev.baton.v1.UploadTicket;
import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpHeaders;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublisher;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandler;
import java.net.http.HttpResponse.BodySubscribers;
import java.nio.channels.ClosedByInterruptException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.function.LongSupplier;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Transfers over HTTP/1.1. Whatever goes wrong in transit (a broken connection, silence, an expired
 * URL, an overloaded store) is tried again with a fresh ticket after a growing wait, until it has
 * failed {@link Retries#attempts} times in a row without progress. A full store, and what the
 * ticket source throws, is not tried again here. An interrupt ends a transfer at once; what a
 * download has fetched stays in its {@code .part}.
 *
 * <p>Any number of threads may use one, but a target belongs to one download at a time.
 */
public final class HttpObjectTransfer implements ObjectTransfer {
  private static final Logger log = LoggerFactory.getLogger(HttpObjectTransfer.class);

  private static final Duration CONNECT_TIMEOUT = Duration.ofSeconds(10);
  // How often a listener hears of bytes that move.
  private static final Duration REPORT_INTERVAL = Duration.ofMillis(100);
  // Beside 5xx: an expired or outdated URL, a timeout, a conflict, too many requests.
  private static final Set<Integer> TRANSIENT_STATUS = Set.of(401, 403, 408, 409, 425, 429);
  // Codes of S3 that come with 400: bytes damaged on their way, or too slow.
  private static final Set<String> TRANSIENT_CODES =
      Set.of("BadDigest", "RequestTimeout", "XAmzContentChecksumMismatch", "IncompleteBody");
  // WebDAV's Insufficient Storage: S3 servers answer a full disk or quota with it.
  private static final int NO_SPACE_STATUS = 507;
  private static final Pattern CODE = Pattern.compile("<Code>([^<]*)</Code>");
  private static final Pattern MESSAGE = Pattern.compile("<Message>([^<]*)</Message>");
  private static final Pattern RANGE_START = Pattern.compile("bytes (\\d+)-.*");

  private final Retries retries;
  private final Bandwidth bandwidth;
  private final HttpClient client;

  /** With the customary retries, directly, to whom the system's roots vouch for. */
  public HttpObjectTransfer() {
    this(Retries.DEFAULT);
  }

  /** With retries of one's own. */
  public HttpObjectTransfer(Retries retries) {
    this(retries, Bandwidth.UNLIMITED);
  }

  /** With retries and a limit of one's own. */
  public HttpObjectTransfer(Retries retries, Bandwidth bandwidth) {
    this(retries, bandwidth, client());
  }

  /**
   * As the bearer of a token: the coordinator's object store must hold the coordinator's key, any
   * other needs a certificate that the system's roots vouch for.
   */
  public HttpObjectTransfer(Access access, Proxies proxies) {
    this(access, proxies, Bandwidth.UNLIMITED);
  }

  /** As above, all transfers together within a limit. */
  public HttpObjectTransfer(Access access, Proxies proxies, Bandwidth bandwidth) {
    this(Retries.DEFAULT, bandwidth, client(access, proxies));
  }

  private HttpObjectTransfer(Retries retries, Bandwidth bandwidth, HttpClient.Builder client) {
    this.retries = retries;
    this.bandwidth = bandwidth;
    this.client = client.build();
  }

  private static HttpClient.Builder client() {
    return HttpClient.newBuilder()
        .version(HttpClient.Version.HTTP_1_1)
        .connectTimeout(CONNECT_TIMEOUT);
  }

  /** How it connects, for those who ask the same servers for something else. */
  public static HttpClient.Builder client(Access access, Proxies proxies) {
    HttpClient.Builder client =
        client().proxy(proxies.selector()).authenticator(proxies.authenticator());
    return access.pin().namesKey()
        ? client.sslContext(PinnedTrust.of(access.pin(), access.address().host()).context())
        : client;
  }

  @Override
  public CompletedUpload upload(
      Path file,
      UploadContent content,
      TicketSource<UploadTicket> tickets,
      TransferListener listener)
      throws IOException, InterruptedException {
    if (Files.size(file) != content.getBytes()) {
      throw changed(file);
    }
    UploadTicket ticket = tickets.get();
    List<String> etags = new ArrayList<>();
    long sent = 0;
    int failures = 0;
    while (!ticket.getComplete() && etags.size() < content.getPartsCount()) {
      if (ticket.getPartsCount() != content.getPartsCount()) {
        throw new IOException(
            "the ticket for %s has %d parts, not %d"
                .formatted(file, ticket.getPartsCount(), content.getPartsCount()));
      }
      int index = etags.size();
      UploadPart part = content.getParts(index);
      try {
        etags.add(sendPart(file, sent, part, ticket.getParts(index), content.getBytes(), listener));
        sent += part.getBytes();
        failures = 0;
      } catch (TransitException e) {
        failures = waitOrGiveUp("sending part %d of %s".formatted(index + 1, file), failures, e);
        ticket = tickets.get();
      }
    }
    listener.onBytes(content.getBytes(), content.getBytes());
    return CompletedUpload.newBuilder()
        .setUploadId(ticket.getUploadId())
        .addAllEtags(etags)
        .build();
  }

  /** The part's ETag, without quotes; empty where the store has it from an earlier attempt. */
  private String sendPart(
      Path file,
      long offset,
      UploadPart part,
      PresignedRequest presigned,
      long total,
      TransferListener listener)
      throws IOException, InterruptedException {
    try (FilePart body = new FilePart(file, offset, part.getBytes())) {
      BodyPublisher publisher =
          part.getBytes() == 0
              ? BodyPublishers.noBody()
              : BodyPublishers.fromPublisher(
                  PacedSubscription.pace(BodyPublishers.ofInputStream(body::open), bandwidth),
                  part.getBytes());
      HttpRequest request = request(presigned).PUT(publisher).build();
      HttpResponse<String> response;
      try {
        response =
            send(
                request,
                info -> text(),
                body::position,
                () -> listener.onBytes(offset + body.position(), total));
      } catch (TransitException e) {
        body.throwIfUnreadable();
        throw e;
      }
      if (body.position() == part.getBytes() && body.crc32c() != part.getCrc32C()) {
        throw changed(file);
      }
      int status = response.statusCode();
      // 412: the request may be obeyed once only, and an attempt whose answer was lost got through.
      // The commit compares what lies there with what was promised.
      if (status / 100 == 2 || status == 412) {
        return response.headers().firstValue("ETag").orElse("").replace("\"", "");
      }
      // A fresh ticket knows a new multipart upload, or that this one is complete.
      throw status == 404
          ? new TransitException(refusal(status, response.body()))
          : failure(status, response.body());
    }
  }

  @Override
  public void download(TicketSource<DownloadTicket> tickets, Path target, TransferListener listener)
      throws IOException, InterruptedException {
    DownloadTicket ticket = tickets.get();
    Path partPath = target.resolveSibling(target.getFileName() + ".part");
    try (PartFile part = PartFile.open(partPath, ticket.getBytes())) {
      boolean hasOldBytes = part.position() > 0;
      long best = part.position();
      int failures = 0;
      while (true) {
        if (part.position() == ticket.getBytes()) {
          String sha256 = part.sha256();
          if (sha256.equals(ticket.getSha256())) {
            break;
          }
          part.restart();
          if (!hasOldBytes) {
            throw mismatch(target, "SHA-256 " + sha256 + ", not " + ticket.getSha256());
          }
          // What an earlier call left was damaged: once more, all of it.
          hasOldBytes = false;
        }
        try {
          receive(ticket, part, target, listener);
        } catch (TransitException e) {
          failures = part.position() > best ? 0 : failures;
          best = Math.max(best, part.position());
          failures = waitOrGiveUp("fetching " + target.getFileName(), failures, e);
          ticket = tickets.get();
        }
      }
      part.force();
    } catch (ClosedByInterruptException e) {
      throw interrupted(e);
    } catch (DigestMismatchException e) {
      Files.deleteIfExists(partPath);
      throw e;
    }
    Files.move(
        partPath, target, StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
    listener.onBytes(ticket.getBytes(), ticket.getBytes());
  }

  private void receive(DownloadTicket ticket, PartFile part, Path target, TransferListener listener)
      throws IOException, InterruptedException {
    long from = part.position();
    HttpRequest.Builder builder = request(ticket.getRequest()).GET();
    if (from > 0) {
      builder.setHeader("Range", "bytes=" + from + "-");
    }
    HttpResponse<String> response;
    try (PartFile.Sink sink = part.sink(bandwidth)) {
      BodyHandler<String> handler =
          info -> {
            boolean whole = info.statusCode() == 200;
            if (whole || (info.statusCode() == 206 && startsAt(info.headers(), from))) {
              return sink.behind(whole ? 0 : from);
            }
            return text();
          };
      try {
        response =
            send(
                builder.build(),
                handler,
                part::position,
                () -> listener.onBytes(part.position(), ticket.getBytes()));
      } catch (TransitException e) {
        sink.throwIfUnwritable();
        throw e;
      }
    }
    int status = response.statusCode();
    if (status == 416) {
      throw mismatch(target, "no more than " + from + " bytes, not " + ticket.getBytes());
    }
    if (status == 404) {
      throw new NoSuchFileException(
          String.valueOf(target.getFileName()), null, "is gone from the object store");
    }
    if (status != 200 && status != 206) {
      throw failure(status, response.body());
    }
    if (part.position() < ticket.getBytes()) {
      throw new TransitException(
          "the answer ended after %d of %d bytes".formatted(part.position(), ticket.getBytes()));
    }
  }

  private static boolean startsAt(HttpHeaders headers, long from) {
    Matcher start = RANGE_START.matcher(headers.firstValue("Content-Range").orElse(""));
    return start.matches() && start.group(1).equals(Long.toString(from));
  }

  private static HttpRequest.Builder request(PresignedRequest presigned) throws IOException {
    try {
      HttpRequest.Builder builder = HttpRequest.newBuilder(URI.create(presigned.getUrl()));
      presigned.getHeadersMap().forEach(builder::setHeader);
      return builder;
    } catch (IllegalArgumentException e) {
      throw new IOException("the ticket's request is no HTTP request: " + e.getMessage(), e);
    }
  }

  /**
   * Sends, and watches over it.
   *
   * @param position bytes through; an attempt in which it stands still for too long has failed
   */
  private <T> HttpResponse<T> send(
      HttpRequest request, BodyHandler<T> handler, LongSupplier position, Runnable report)
      throws IOException, InterruptedException {
    CompletableFuture<HttpResponse<T>> answer = client.sendAsync(request, handler);
    try {
      long seen = position.getAsLong();
      long seenAt = System.nanoTime();
      while (true) {
        try {
          return answer.get(REPORT_INTERVAL.toMillis(), TimeUnit.MILLISECONDS);
        } catch (TimeoutException e) {
          report.run();
          if (position.getAsLong() != seen) {
            seen = position.getAsLong();
            seenAt = System.nanoTime();
          } else if (System.nanoTime() - seenAt > retries.stall().toNanos()) {
            throw new TransitException(
                "%s: no byte moved for %d s"
                    .formatted(request.uri().getAuthority(), retries.stall().toSeconds()));
          }
        }
      }
    } catch (ExecutionException e) {
      Throwable cause = e.getCause();
      if (!(cause instanceof IOException)) {
        throw new IllegalStateException("a bug in a transfer", cause);
      }
      String what = cause.getMessage() == null ? cause.toString() : cause.getMessage();
      throw new TransitException(request.uri().getAuthority() + ": " + what, cause);
    } finally {
      // Ends the exchange where it has not ended; else it does nothing.
      answer.cancel(true);
    }
  }

  /** Waits before the next attempt, and returns the failures so far, this one included. */
  private int waitOrGiveUp(String what, int failures, TransitException e)
      throws IOException, InterruptedException {
    int now = failures + 1;
    if (now >= retries.attempts()) {
      throw new IOException(
          "%s failed %d times, at last: %s".formatted(what, now, e.getMessage()), e);
    }
    Duration wait = retries.waitAfter(now);
    log.info("{} failed ({}); trying again in {} ms", what, e.getMessage(), wait.toMillis());
    TimeUnit.NANOSECONDS.sleep(wait.toNanos());
    return now;
  }

  private static HttpResponse.BodySubscriber<String> text() {
    return BodySubscribers.ofString(StandardCharsets.UTF_8);
  }

  private static IOException failure(int status, String body) {
    String text = refusal(status, body);
    if (status == NO_SPACE_STATUS) {
      String message = first(MESSAGE, body);
      return new IOException(message.isEmpty() ? text : message);
    }
    return status >= 500
            || TRANSIENT_STATUS.contains(status)
            || TRANSIENT_CODES.contains(first(CODE, body))
        ? new TransitException(text)
        : new IOException(text);
  }

  private static String refusal(int status, String body) {
    String detail = (first(CODE, body) + " " + first(MESSAGE, body)).strip();
    return "the object store answered " + status + (detail.isEmpty() ? "" : " (" + detail + ")");
  }

  private static String first(Pattern pattern, String text) {
    Matcher matcher = pattern.matcher(text);
    return matcher.find() ? matcher.group(1) : "";
  }

  private static DigestMismatchException changed(Path file) {
    return new DigestMismatchException(file + " is no longer what it was when it was described");
  }

  private static DigestMismatchException mismatch(Path target, String what) {
    return new DigestMismatchException(target.getFileName() + ": the object has " + what);
  }

  private static InterruptedException interrupted(ClosedByInterruptException e) {
    // The exception that follows stands for the flag.
    Thread.interrupted();
    InterruptedException interrupted = new InterruptedException("interrupted while reading a file");
    interrupted.initCause(e);
    return interrupted;
  }

  /** Something that may go better next time. */
  private static final class TransitException extends IOException {
    private static final long serialVersionUID = 1L;

    TransitException(String message) {
      super(message);
    }

    TransitException(String message, Throwable cause) {
      super(message, cause);
    }
  }
}
