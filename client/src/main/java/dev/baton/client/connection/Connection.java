package dev.baton.client.connection;

import dev.baton.rpc.Access;
import dev.baton.rpc.TrustProblems;
import dev.baton.v1.AdminServiceGrpc;
import dev.baton.v1.AdminServiceGrpc.AdminServiceBlockingStub;
import dev.baton.v1.DatasetServiceGrpc;
import dev.baton.v1.DatasetServiceGrpc.DatasetServiceBlockingStub;
import dev.baton.v1.JobServiceGrpc;
import dev.baton.v1.JobServiceGrpc.JobServiceBlockingStub;
import io.grpc.ManagedChannel;
import io.grpc.Status;
import io.grpc.Status.Code;
import io.grpc.StatusRuntimeException;
import java.net.ConnectException;
import java.net.UnknownHostException;
import java.time.Duration;
import java.util.Iterator;
import java.util.function.BooleanSupplier;
import java.util.function.Consumer;
import java.util.function.Supplier;

/** A line to the coordinator, and the patience that its restarts ask for. For one thread. */
public final class Connection implements AutoCloseable {
  /** How long a stream that broke is tried again. */
  public static final Duration STREAM_PATIENCE = Duration.ofSeconds(60);

  /** How long a call whose fate is unknown is tried again. */
  static final Duration CALL_PATIENCE = Duration.ofSeconds(10);

  private static final String LOST =
      "lost the coordinator; trying again for " + STREAM_PATIENCE.toSeconds() + " s";
  private static final Duration A_CENTURY = Duration.ofDays(36_500);
  private static final Duration FIRST_WAITS = Duration.ofMillis(250);
  private static final Duration LATER_WAITS = Duration.ofSeconds(1);
  private static final int FIRST_TRIES = 20;

  private final ManagedChannel channel;
  private final Access access;
  private final Time time;
  private final Consumer<String> notes;
  private boolean answered;

  /**
   * @param access by which the channel was opened
   * @param notes hears when the coordinator is lost
   */
  public Connection(ManagedChannel channel, Access access, Time time, Consumer<String> notes) {
    this.channel = channel;
    this.access = access;
    this.time = time;
    this.notes = notes;
  }

  public JobServiceBlockingStub jobs() {
    return JobServiceGrpc.newBlockingStub(channel);
  }

  public DatasetServiceBlockingStub datasets() {
    return DatasetServiceGrpc.newBlockingStub(channel);
  }

  public AdminServiceBlockingStub admin() {
    return AdminServiceGrpc.newBlockingStub(channel);
  }

  /**
   * Makes an idempotent call; where the coordinator went away under it, so that nobody knows
   * whether it was heard, again for a while.
   */
  public <T> T repeat(Supplier<T> call) throws InterruptedException {
    long start = time.nanos();
    for (int tries = 0; ; tries++) {
      try {
        T reply = call.get();
        answered = true;
        return reply;
      } catch (StatusRuntimeException e) {
        boolean unheard = !answered && tries == 0 && (neverConnected(e) || isNotTrusted(e));
        if (unheard || !isTransient(e) || time.nanos() - start >= CALL_PATIENCE.toNanos()) {
          throw e;
        }
        pause(tries);
      }
    }
  }

  /**
   * Reads a server's stream until it completes, opened again when it breaks, for 60 s after the
   * last sign of life. A coordinator that was never reached is not waited for.
   *
   * @param open opens the stream where the last one broke
   */
  public <T> void readToEnd(Supplier<Iterator<T>> open, Consumer<T> each)
      throws InterruptedException {
    read(open, each, () -> false, true, time.nanos() + A_CENTURY.toNanos());
  }

  /**
   * As {@link #readToEnd}, until {@code done}: a stream that completes before was broken, one that
   * breaks after is no loss.
   */
  public <T> void follow(Supplier<Iterator<T>> open, Consumer<T> each, BooleanSupplier done)
      throws InterruptedException {
    follow(open, each, done, time.nanos() + A_CENTURY.toNanos());
  }

  /**
   * As the other, but not for ever.
   *
   * @param giveUpAt on {@link Time#nanos}: past it the failure is DEADLINE_EXCEEDED
   */
  public <T> void follow(
      Supplier<Iterator<T>> open, Consumer<T> each, BooleanSupplier done, long giveUpAt)
      throws InterruptedException {
    read(open, each, done, false, giveUpAt);
  }

  private <T> void read(
      Supplier<Iterator<T>> open,
      Consumer<T> each,
      BooleanSupplier done,
      boolean completionIsTheEnd,
      long giveUpAt)
      throws InterruptedException {
    boolean broken = false;
    long brokenSince = 0;
    for (int tries = 0; ; tries++) {
      StatusRuntimeException failure;
      try {
        Iterator<T> stream = open.get();
        while (stream.hasNext()) {
          T next = stream.next();
          answered = true;
          broken = false;
          tries = 0;
          each.accept(next);
        }
        if (completionIsTheEnd || done.getAsBoolean()) {
          return;
        }
        failure =
            Status.UNAVAILABLE.withDescription("it ended the stream early").asRuntimeException();
      } catch (StatusRuntimeException e) {
        if (done.getAsBoolean()) {
          return;
        }
        if (!answered || e.getStatus().getCode() != Code.UNAVAILABLE) {
          throw e;
        }
        failure = e;
      }
      long now = time.nanos();
      if (now - giveUpAt >= 0) {
        throw Status.DEADLINE_EXCEEDED.asRuntimeException();
      }
      if (!broken) {
        broken = true;
        brokenSince = now;
        notes.accept(LOST);
      } else if (now - brokenSince >= STREAM_PATIENCE.toNanos()) {
        throw failure;
      }
      pause(tries);
    }
  }

  /**
   * Makes a call that only reads, again after each interval, for ever. Where the coordinator goes
   * away it is called for 60 s after its last answer; one that was never reached is not waited for.
   *
   * @param each sees each answer
   * @param away hears, once for each time, that the coordinator is away
   */
  public <T> void poll(Duration interval, Supplier<T> call, Consumer<T> each, Consumer<String> away)
      throws InterruptedException {
    long answeredAt = 0;
    for (int failures = 0; ; ) {
      T answer;
      try {
        answer = call.get();
      } catch (StatusRuntimeException e) {
        if (!answered
            || !isTransient(e)
            || time.nanos() - answeredAt >= STREAM_PATIENCE.toNanos()) {
          throw e;
        }
        if (failures == 0) {
          away.accept(LOST);
        }
        pause(failures++);
        continue;
      }
      answered = true;
      answeredAt = time.nanos();
      failures = 0;
      each.accept(answer);
      time.sleep(interval);
    }
  }

  /** HOST:PORT of the coordinator. */
  public String address() {
    return access.address().toString();
  }

  private void pause(int tries) throws InterruptedException {
    time.sleep(tries < FIRST_TRIES ? FIRST_WAITS : LATER_WAITS);
    // Left alone, the channel would wait up to two minutes between attempts.
    channel.resetConnectBackoff();
  }

  private static boolean isTransient(StatusRuntimeException e) {
    Code code = e.getStatus().getCode();
    return code == Code.UNAVAILABLE || code == Code.DEADLINE_EXCEEDED;
  }

  private boolean isNotTrusted(StatusRuntimeException e) {
    return TrustProblems.describe(e, access).isPresent();
  }

  private static boolean neverConnected(StatusRuntimeException e) {
    for (Throwable cause = e; cause != null; cause = cause.getCause()) {
      if (cause instanceof ConnectException || cause instanceof UnknownHostException) {
        return true;
      }
    }
    return false;
  }

  @Override
  public void close() {
    channel.shutdownNow();
  }
}
