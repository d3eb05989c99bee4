package dev.baton.worker.lease;

import static org.assertj.core.api.Assertions.assertThat;

import dev.baton.v1.AppendLogRequest;
import dev.baton.v1.Assignment;
import dev.baton.v1.BeginAttemptRequest;
import dev.baton.v1.CheckpointKept;
import dev.baton.v1.CommitCheckpointRequest;
import dev.baton.v1.CoordinatorMessage;
import dev.baton.v1.CreateDownloadRequest;
import dev.baton.v1.CreateUploadRequest;
import dev.baton.v1.DownloadTicket;
import dev.baton.v1.FinishAttemptRequest;
import dev.baton.v1.GroupReady;
import dev.baton.v1.Heartbeat;
import dev.baton.v1.HeartbeatReply;
import dev.baton.v1.Hello;
import dev.baton.v1.LeaseRef;
import dev.baton.v1.Offer;
import dev.baton.v1.Order;
import dev.baton.v1.Probe;
import dev.baton.v1.UploadTicket;
import dev.baton.v1.Welcome;
import dev.baton.v1.WorkerMessage;
import dev.baton.worker.testing.ManualLoop;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

class LeaseLoopTest {
  private static final long LEASE_NANOS = Duration.ofSeconds(15).toNanos();
  private static final long MARGIN_NANOS = Duration.ofSeconds(1).toNanos();

  // Close to where nanoTime overflows.
  private final ManualLoop loop = new ManualLoop(Long.MAX_VALUE - Duration.ofSeconds(8).toNanos());
  private final Streams streams = new Streams();
  private final Recorder holder = new Recorder();
  private final LeaseLoop leases = new LeaseLoop(streams, holder, loop);
  private int stops;

  @BeforeEach
  void start() {
    leases.start();
    loop.run();
  }

  @Test
  void saysHelloFirstAndHeartbeatsAtTheIntervalOfWelcome() {
    assertThat(streams.last().hello().getSession()).isEqualTo(1);
    assertThat(streams.last().sent).hasSize(1);
    welcome();
    assertThat(holder.welcomes).isEqualTo(1);
    assertThat(streams.last().heartbeats()).hasSize(1);
    for (int i = 2; i <= 4; i++) {
      answer();
      loop.advance(Duration.ofSeconds(3));
      assertThat(streams.last().heartbeats()).hasSize(i);
    }
    assertThat(streams.last().heartbeats().stream().map(Heartbeat::getSeq).toList())
        .containsExactly(1L, 2L, 3L, 4L);
  }

  @Test
  void aDeadlineCountsFromWhenTheHeartbeatWasSent() {
    welcome();
    HeldLease lease = holder.hold(1, loop);
    loop.advance(Duration.ofSeconds(3));
    long sent = loop.nanoTime();
    loop.advance(Duration.ofMillis(2_500));
    answer(lease.ref());
    assertThat(lease.deadlineNanos()).isEqualTo(sent + LEASE_NANOS - MARGIN_NANOS);
    assertThat(holder.renewed).containsExactly(lease);
  }

  @Test
  void aLateReplyNeverMovesADeadlineBack() {
    welcome();
    HeldLease lease = holder.hold(1, loop);
    Heartbeat first = streams.last().heartbeats().get(0);
    loop.advance(Duration.ofSeconds(3));
    answer(lease.ref());
    long deadline = lease.deadlineNanos();
    streams.last().say(reply(first.getSeq(), List.of(lease.ref()), List.of()));
    loop.run();
    assertThat(lease.deadlineNanos()).isEqualTo(deadline);
  }

  @Test
  void aRepeatedReplyCountsOnce() {
    welcome();
    HeldLease lease = holder.hold(1, loop);
    loop.advance(Duration.ofSeconds(3));
    long seq = answer(lease.ref());
    streams.last().say(reply(seq, List.of(), List.of(lease.ref())));
    loop.run();
    assertThat(holder.renewed).hasSize(1);
    assertThat(holder.ended).isEmpty();
    assertThat(over(lease)).isFalse();
  }

  @Test
  void anEndedLeaseIsOver() {
    welcome();
    HeldLease lease = holder.hold(1, loop);
    HeldLease other = holder.hold(2, loop);
    loop.advance(Duration.ofSeconds(3));
    long seq = streams.last().heartbeats().get(1).getSeq();
    streams.last().say(reply(seq, List.of(other.ref()), List.of(lease.ref())));
    loop.run();
    assertThat(over(lease)).isTrue();
    assertThat(over(other)).isFalse();
    assertThat(holder.ended).containsExactly(lease);
  }

  @Test
  void anOfferCountsFromTheNewestAnsweredRequest() {
    welcome();
    loop.advance(Duration.ofSeconds(3));
    long sent = loop.nanoTime();
    answer();
    loop.advance(Duration.ofSeconds(2));
    streams
        .last()
        .say(
            CoordinatorMessage.newBuilder()
                .setOffer(Offer.newBuilder().setLease(Recorder.ref(7)))
                .build());
    loop.run();
    assertThat(holder.offerDeadlines).containsExactly(sent + LEASE_NANOS - MARGIN_NANOS);
  }

  @Test
  void aBrokenStreamIsReplacedQuicklyAndListsWhatIsHeld() {
    welcome();
    HeldLease lease = holder.hold(1, loop);
    Stream broken = streams.last();
    broken.listener.onEnd(unavailable());
    loop.advance(Duration.ofMillis(249));
    assertThat(streams.opened).hasSize(1);
    loop.advance(Duration.ofMillis(1));
    assertThat(streams.opened).hasSize(2);
    assertThat(streams.connects).isEqualTo(2);
    assertThat(streams.last().hello().getSession()).isEqualTo(2);
    assertThat(streams.last().hello().getLeasesList()).containsExactly(lease.ref());
    long sent = loop.nanoTime();
    loop.advance(Duration.ofSeconds(1));
    streams
        .last()
        .say(
            CoordinatorMessage.newBuilder()
                .setWelcome(
                    Welcome.newBuilder()
                        .setHeartbeatIntervalMs(3_000)
                        .setLeaseMs(15_000)
                        .addRenewed(lease.ref()))
                .build());
    loop.run();
    assertThat(lease.deadlineNanos()).isEqualTo(sent + LEASE_NANOS - MARGIN_NANOS);
  }

  @Test
  void itTriesEachSecondAfterTheFirstTenSeconds() {
    for (int i = 1; i <= 40; i++) {
      streams.last().listener.onEnd(unavailable());
      loop.advance(Duration.ofMillis(250));
      assertThat(streams.opened).hasSize(i + 1);
    }
    streams.last().listener.onEnd(unavailable());
    loop.advance(Duration.ofMillis(999));
    assertThat(streams.opened).hasSize(41);
    loop.advance(Duration.ofMillis(1));
    assertThat(streams.opened).hasSize(42);
  }

  @Test
  void whatAnOlderSessionSaysMeansNothing() {
    welcome();
    HeldLease lease = holder.hold(1, loop);
    loop.advance(Duration.ofSeconds(3));
    Stream old = streams.last();
    long seq = old.heartbeats().get(1).getSeq();
    old.listener.onEnd(unavailable());
    loop.advance(Duration.ofMillis(250));
    welcome();
    old.say(reply(seq, List.of(), List.of(lease.ref())));
    old.listener.onEnd(unavailable());
    loop.run();
    assertThat(over(lease)).isFalse();
    // The session stands.
    int sent = streams.last().heartbeats().size();
    leases.heartbeatNow();
    assertThat(streams.last().heartbeats()).hasSize(sent + 1);
    assertThat(streams.opened).hasSize(2);
  }

  @Test
  void aStreamThatDoesNotWelcomeIsGivenUp() {
    Stream deaf = streams.last();
    loop.advance(Duration.ofSeconds(5));
    assertThat(deaf.cancelled).isTrue();
    loop.advance(Duration.ofMillis(250));
    assertThat(streams.opened).hasSize(2);
  }

  @Test
  void aHalfOpenStreamIsGivenUpBeforeTheLeaseRunsOut() {
    welcome();
    HeldLease lease = holder.hold(1, loop);
    Stream half = streams.last();
    loop.advance(Duration.ofSeconds(13));
    assertThat(half.cancelled).isTrue();
    assertThat(streams.opened).hasSize(2);
    assertThat(streams.last().hello().getLeasesList()).containsExactly(lease.ref());
  }

  @Test
  void aRefusedWorkerDoesNotTryAgain() {
    streams
        .last()
        .listener
        .onEnd(
            new CoordinatorException(
                CoordinatorException.Kind.NOT_ALLOWED, "UNAUTHENTICATED: the token has expired"));
    loop.advance(Duration.ofMinutes(1));
    assertThat(streams.opened).hasSize(1);
    assertThat(holder.refusals).singleElement().asString().contains("the token has expired");
  }

  @Test
  void stoppingEndsTheStreamInGoodOrderOnceItsLastHeartbeatIsAnswered() {
    welcome();
    CoordinatorMessage early = reply(1, List.of(), List.of());
    stop();
    assertThat(streams.last().heartbeats()).hasSize(2);
    streams.last().say(early);
    streams.last().say(CoordinatorMessage.newBuilder().setOffer(Offer.newBuilder()).build());
    loop.run();
    assertThat(holder.offerDeadlines).as("it may still be given back").hasSize(1);
    assertThat(stops).isZero();
    answer();
    assertThat(stops).isEqualTo(1);
    assertThat(streams.last().finished).isTrue();
    loop.advance(Duration.ofMinutes(1));
    assertThat(stops).isEqualTo(1);
    assertThat(streams.opened).hasSize(1);
  }

  @Test
  void stoppingWaitsNoLongerThanItsLimit() {
    welcome();
    stop();
    loop.advance(Duration.ofMillis(1_900));
    assertThat(stops).isZero();
    loop.advance(Duration.ofMillis(100));
    assertThat(stops).isEqualTo(1);
    assertThat(streams.last().finished).isTrue();
  }

  @Test
  void stoppingWaitsForNobodyWhereNoSessionStands() {
    stop();
    assertThat(stops).isEqualTo(1);
    loop.advance(Duration.ofMinutes(1));
    assertThat(stops).isEqualTo(1);
    assertThat(streams.opened).hasSize(1);
  }

  @Test
  void aStreamThatBreaksWhileStoppingIsTheEnd() {
    welcome();
    stop();
    streams.last().listener.onEnd(unavailable());
    loop.run();
    assertThat(stops).isEqualTo(1);
    loop.advance(Duration.ofMinutes(1));
    assertThat(stops).isEqualTo(1);
    assertThat(streams.opened).hasSize(1);
  }

  private static boolean over(HeldLease lease) {
    try {
      lease.pause(0);
      return false;
    } catch (CoordinatorException e) {
      return e.kind() == CoordinatorException.Kind.TERM_OVER;
    } catch (InterruptedException e) {
      throw new AssertionError(e);
    }
  }

  private void stop() {
    leases.stop(Duration.ofSeconds(2).toNanos(), () -> stops++);
  }

  private void welcome() {
    streams
        .last()
        .say(
            CoordinatorMessage.newBuilder()
                .setWelcome(Welcome.newBuilder().setHeartbeatIntervalMs(3_000).setLeaseMs(15_000))
                .build());
    loop.run();
  }

  // Answers the newest heartbeat.
  private long answer(LeaseRef... renewed) {
    List<Heartbeat> sent = streams.last().heartbeats();
    long seq = sent.get(sent.size() - 1).getSeq();
    streams.last().say(reply(seq, List.of(renewed), List.of()));
    loop.run();
    return seq;
  }

  private static CoordinatorMessage reply(long seq, List<LeaseRef> renewed, List<LeaseRef> ended) {
    return CoordinatorMessage.newBuilder()
        .setHeartbeatReply(
            HeartbeatReply.newBuilder().setSeq(seq).addAllRenewed(renewed).addAllEnded(ended))
        .build();
  }

  private static CoordinatorException unavailable() {
    return new CoordinatorException(CoordinatorException.Kind.TRY_AGAIN, "UNAVAILABLE");
  }

  private static final class Stream implements Coordinator.Session {
    private final Coordinator.SessionListener listener;
    private final List<WorkerMessage> sent = new ArrayList<>();
    private boolean finished;
    private boolean cancelled;

    Stream(Coordinator.SessionListener listener) {
      this.listener = listener;
    }

    Hello hello() {
      return sent.get(0).getHello();
    }

    List<Heartbeat> heartbeats() {
      return sent.stream()
          .filter(WorkerMessage::hasHeartbeat)
          .map(WorkerMessage::getHeartbeat)
          .toList();
    }

    void say(CoordinatorMessage message) {
      listener.onMessage(message);
    }

    @Override
    public void send(WorkerMessage message) {
      sent.add(message);
    }

    @Override
    public void finish() {
      finished = true;
    }

    @Override
    public void cancel() {
      cancelled = true;
    }
  }

  private static final class Streams implements Coordinator {
    private final List<Stream> opened = new ArrayList<>();
    private int connects;

    Stream last() {
      return opened.get(opened.size() - 1);
    }

    @Override
    public Session open(SessionListener listener) {
      Stream stream = new Stream(listener);
      opened.add(stream);
      return stream;
    }

    @Override
    public void connectNow() {
      connects++;
    }

    @Override
    public void beginAttempt(BeginAttemptRequest request) {
      throw new AssertionError("the lease loop makes no calls");
    }

    @Override
    public DownloadTicket createDownload(CreateDownloadRequest request) {
      throw new AssertionError("the lease loop makes no calls");
    }

    @Override
    public UploadTicket createUpload(CreateUploadRequest request) {
      throw new AssertionError("the lease loop makes no calls");
    }

    @Override
    public void commitCheckpoint(CommitCheckpointRequest request) {
      throw new AssertionError("the lease loop makes no calls");
    }

    @Override
    public void finishAttempt(FinishAttemptRequest request) {
      throw new AssertionError("the lease loop makes no calls");
    }

    @Override
    public long appendLog(AppendLogRequest request) {
      throw new AssertionError("the lease loop makes no calls");
    }
  }

  private static final class Recorder implements LeaseLoop.Holder {
    private final List<HeldLease> held = new ArrayList<>();
    private final List<HeldLease> renewed = new ArrayList<>();
    private final List<HeldLease> ended = new ArrayList<>();
    private final List<Long> offerDeadlines = new ArrayList<>();
    private final List<String> refusals = new ArrayList<>();
    private int welcomes;

    static LeaseRef ref(long term) {
      return LeaseRef.newBuilder().setJobId("job").setTerm(term).build();
    }

    HeldLease hold(long term, ManualLoop loop) {
      HeldLease lease = new HeldLease(ref(term), loop.nanoTime(), loop::nanoTime);
      held.add(lease);
      return lease;
    }

    @Override
    public Hello.Builder hello() {
      return Hello.newBuilder().setWorkerId("w");
    }

    @Override
    public Collection<HeldLease> leases() {
      return held;
    }

    @Override
    public List<String> preparedJobs() {
      return List.of();
    }

    @Override
    public String libtorch() {
      return "";
    }

    @Override
    public boolean takesReplicas() {
      return false;
    }

    @Override
    public void onWelcome() {
      welcomes++;
    }

    @Override
    public void onRenewed(HeldLease lease) {
      renewed.add(lease);
    }

    @Override
    public void onEnded(HeldLease lease) {
      ended.add(lease);
      held.remove(lease);
    }

    @Override
    public void onOffer(Offer offer, long deadlineNanos) {
      offerDeadlines.add(deadlineNanos);
    }

    @Override
    public void onPrepare(Assignment assignment) {}

    @Override
    public void onUnprepare(String jobId) {}

    @Override
    public void onOrder(Order order) {}

    @Override
    public void onGroupReady(GroupReady ready) {}

    @Override
    public void onCheckpointKept(CheckpointKept kept) {}

    @Override
    public void onProbe(Probe probe) {}

    @Override
    public void onRefused(CoordinatorException why) {
      refusals.add(String.valueOf(why.getMessage()));
    }
  }
}
