package dev.baton.worker.daemon;

import dev.baton.v1.Probe;
import dev.baton.v1.ProbeResult;
import dev.baton.v1.ProbeTarget;
import java.io.IOException;
import java.io.InputStream;
import java.net.InetSocketAddress;
import java.net.Socket;
import java.net.SocketTimeoutException;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Executor;
import java.util.concurrent.TimeUnit;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** Tries whether other workers can be reached from here, at their {@link ProbeListener}s. */
final class PeerProbe {
  private static final Logger log = LoggerFactory.getLogger(PeerProbe.class);

  private static final long LIMIT_MILLIS = 2_000;
  // Looking up a name knows no limit of its own.
  private static final long LOOKUP_MILLIS = 500;

  private PeerProbe() {}

  /** Tries all of them at once; completes within some 2 s, never exceptionally. */
  static CompletableFuture<ProbeResult> all(Probe probe, Executor io) {
    List<CompletableFuture<Boolean>> answers =
        probe.getTargetsList().stream()
            .map(
                target ->
                    CompletableFuture.supplyAsync(() -> answers(target), io)
                        .completeOnTimeout(
                            false, LIMIT_MILLIS + LOOKUP_MILLIS, TimeUnit.MILLISECONDS))
            .toList();
    return CompletableFuture.allOf(answers.toArray(CompletableFuture[]::new))
        .thenApply(
            done -> {
              ProbeResult.Builder result = ProbeResult.newBuilder().setProbeId(probe.getProbeId());
              for (int i = 0; i < answers.size(); i++) {
                if (answers.get(i).join()) {
                  result.addWorkerIds(probe.getTargets(i).getWorkerId());
                }
              }
              return result.build();
            });
  }

  private static boolean answers(ProbeTarget target) {
    byte[] expected = ProbeListener.line(target.getWorkerId()).getBytes(StandardCharsets.US_ASCII);
    long until = System.nanoTime() + TimeUnit.MILLISECONDS.toNanos(LIMIT_MILLIS);
    try (Socket socket = new Socket()) {
      socket.connect(new InetSocketAddress(target.getHost(), target.getPort()), (int) LIMIT_MILLIS);
      InputStream in = socket.getInputStream();
      for (byte wanted : expected) {
        long left = TimeUnit.NANOSECONDS.toMillis(until - System.nanoTime());
        if (left <= 0) {
          throw new SocketTimeoutException("no whole answer");
        }
        socket.setSoTimeout((int) left);
        if (in.read() != (wanted & 0xff)) {
          throw new IOException("another worker, or none, answers there");
        }
      }
      return true;
    } catch (IOException | IllegalArgumentException e) {
      log.info(
          "worker {} cannot be reached at {}:{}: {}",
          target.getWorkerId(),
          target.getHost(),
          target.getPort(),
          e.getMessage() == null ? e.toString() : e.getMessage());
      return false;
    }
  }
}
