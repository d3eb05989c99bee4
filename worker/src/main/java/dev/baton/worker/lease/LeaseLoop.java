package dev.baton.worker.lease;

import dev.baton.v1.Assignment;
import dev.baton.v1.CheckpointKept;
import dev.baton.v1.CoordinatorMessage;
import dev.baton.v1.GroupReady;
import dev.baton.v1.Heartbeat;
import dev.baton.v1.HeartbeatReply;
import dev.baton.v1.Hello;
import dev.baton.v1.LeaseRef;
import dev.baton.v1.Offer;
import dev.baton.v1.Order;
import dev.baton.v1.Probe;
import dev.baton.v1.Welcome;
import dev.baton.v1.WorkerMessage;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Keeps a session with the coordinator open, heartbeats in it, and turns replies into deadlines.
 * Everything runs on the {@link Loop}; all timing but the pace of reconnecting comes from Welcome.
 *
 * <p>A message of an older session never counts: each session has a state object of its own, and
 * only the current one's is listened to.
 */
public final class LeaseLoop {
  private static final Logger log = LoggerFactory.getLogger(LeaseLoop.class);

  private static final long MILLI = 1_000_000L;
  private static final long QUICK_RETRY_NANOS = 250 * MILLI;
  private static final long SLOW_RETRY_NANOS = 1_000 * MILLI;
  // gRPC alone would wait 1 s, then up to 2 minutes: too long for a grace of 2 s.
  private static final int QUICK_RETRIES = 40;
  private static final long WELCOME_LIMIT_NANOS = 5_000 * MILLI;

  /** What holds the leases. Called on the loop. */
  public interface Holder {
    /** Who this is; session, leases are filled in here. */
    Hello.Builder hello();

    Collection<HeldLease> leases();

    List<String> preparedJobs();

    /** Its version; empty while it is not known. */
    String libtorch();

    /** Whether libtorch is known to have c10d. */
    boolean takesReplicas();

    /** A session stands (the first, or once more). */
    void onWelcome();

    void onRenewed(HeldLease lease);

    void onEnded(HeldLease lease);

    /** {@code deadlineNanos}: until when the offered lease can be counted on. */
    void onOffer(Offer offer, long deadlineNanos);

    void onPrepare(Assignment assignment);

    void onUnprepare(String jobId);

    void onOrder(Order order);

    void onGroupReady(GroupReady ready);

    void onCheckpointKept(CheckpointKept kept);

    void onProbe(Probe probe);

    /** The coordinator will not have this worker; there is no second try. */
    void onRefused(CoordinatorException why);
  }

  /** One session's state. */
  private final class Current implements Coordinator.SessionListener {
    private final long number;
    private final Map<Long, Long> sentNanos = new HashMap<>();
    private Coordinator.@Nullable Session session;
    private long seq;
    private long helloNanos;
    private long intervalNanos;
    private long leaseNanos;
    private boolean welcomed;
    // When the newest request was sent that the coordinator has answered in this session.
    private long answeredSentNanos;

    Current(long number) {
      this.number = number;
    }

    @Override
    public void onMessage(CoordinatorMessage message) {
      loop.execute(
          () -> {
            if (this == current) {
              receive(this, message);
            }
          });
    }

    @Override
    public void onEnd(CoordinatorException why) {
      loop.execute(
          () -> {
            if (this == current) {
              broken(why);
            }
          });
    }

    void send(WorkerMessage message) {
      if (session != null) {
        session.send(message);
      }
    }
  }

  private final Coordinator coordinator;
  private final Holder holder;
  private final Loop loop;
  private @Nullable Current current;
  private long sessions;
  private int retries;
  private boolean stopped;
  // Until the answer to this heartbeat.
  private long stopSeq;
  private @Nullable Runnable onStopped;
  private boolean reported;

  public LeaseLoop(Coordinator coordinator, Holder holder, Loop loop) {
    this.coordinator = coordinator;
    this.holder = holder;
    this.loop = loop;
  }

  /** Opens the first session. */
  public void start() {
    connect();
  }

  /**
   * Ends the session in good order, and opens no other, once the coordinator has answered what was
   * sent up to now: what it offered before it heard that has come by then, and its holder can give
   * it back.
   *
   * @param limitNanos how long to wait at most
   * @param then called once, when the session has ended; at once where none stands
   */
  public void stop(long limitNanos, Runnable then) {
    stopped = true;
    onStopped = then;
    if (current == null || !current.welcomed) {
      finish();
      return;
    }
    heartbeat(current);
    stopSeq = current.seq;
    loop.schedule(limitNanos, this::finish);
  }

  private void finish() {
    Runnable then = onStopped;
    onStopped = null;
    if (then == null) {
      return;
    }
    Current ending = current;
    current = null;
    if (ending != null && ending.session != null) {
      ending.session.finish();
    }
    then.run();
  }

  /** Sends a message in the session, if one stands. */
  public void send(WorkerMessage message) {
    if (current != null && current.welcomed) {
      current.send(message);
    }
  }

  /** Heartbeats out of turn, because what it would say has changed. */
  public void heartbeatNow() {
    if (current != null && current.welcomed) {
      heartbeat(current);
    }
  }

  private void connect() {
    if (stopped) {
      return;
    }
    Current opening = new Current(++sessions);
    current = opening;
    opening.helloNanos = loop.nanoTime();
    Hello.Builder hello = holder.hello().setSession(opening.number).clearLeases();
    holder.leases().forEach(lease -> hello.addLeases(lease.ref()));
    coordinator.connectNow();
    opening.session = coordinator.open(opening);
    opening.send(WorkerMessage.newBuilder().setHello(hello).build());
    loop.schedule(
        WELCOME_LIMIT_NANOS,
        () -> {
          if (opening == current && !opening.welcomed) {
            broken(tryAgain("no welcome within " + WELCOME_LIMIT_NANOS / (1_000 * MILLI) + " s"));
          }
        });
  }

  private void broken(CoordinatorException why) {
    Current ended = current;
    if (ended == null) {
      return;
    }
    current = null;
    if (ended.session != null) {
      ended.session.cancel();
    }
    if (stopped) {
      finish();
      return;
    }
    if (why.kind() == CoordinatorException.Kind.NOT_ALLOWED
        || why.kind() == CoordinatorException.Kind.PRECONDITION) {
      stopped = true;
      holder.onRefused(why);
      return;
    }
    if (ended.welcomed || !reported) {
      reported = true;
      log.warn("no session with the coordinator ({}); trying again until there is", text(why));
    }
    long wait = retries++ < QUICK_RETRIES ? QUICK_RETRY_NANOS : SLOW_RETRY_NANOS;
    loop.schedule(
        wait,
        () -> {
          if (current == null) {
            connect();
          }
        });
  }

  private void receive(Current from, CoordinatorMessage message) {
    if (!from.welcomed && !message.hasWelcome()) {
      log.warn("message {} before Welcome; ignored", message.getMessageCase());
      return;
    }
    switch (message.getMessageCase()) {
      case WELCOME -> welcome(from, message.getWelcome());
      case HEARTBEAT_REPLY -> reply(from, message.getHeartbeatReply());
      case OFFER ->
          // The stream keeps order: the grant came after the coordinator's newest answer, and so
          // after the request of it was sent.
          holder.onOffer(
              message.getOffer(), LeaseDeadline.of(from.answeredSentNanos, from.leaseNanos));
      case PREPARE -> holder.onPrepare(message.getPrepare().getAssignment());
      case UNPREPARE -> holder.onUnprepare(message.getUnprepare().getJobId());
      case ORDER -> holder.onOrder(message.getOrder());
      case RESTARTING -> log.info("the coordinator restarts; training goes on");
      case GROUP_READY -> holder.onGroupReady(message.getGroupReady());
      case CHECKPOINT_KEPT -> holder.onCheckpointKept(message.getCheckpointKept());
      case PROBE -> holder.onProbe(message.getProbe());
      case MESSAGE_NOT_SET -> log.warn("a message of a kind that this version does not know");
    }
  }

  private void welcome(Current from, Welcome welcome) {
    if (from.welcomed) {
      log.warn("a second Welcome in one session; ignored");
      return;
    }
    if (welcome.getHeartbeatIntervalMs() <= 0 || welcome.getLeaseMs() <= 0) {
      broken(tryAgain("Welcome without heartbeat interval or lease length"));
      return;
    }
    from.welcomed = true;
    from.intervalNanos = welcome.getHeartbeatIntervalMs() * MILLI;
    from.leaseNanos = welcome.getLeaseMs() * MILLI;
    retries = 0;
    reported = true;
    log.info("session {} with the coordinator", from.number);
    answered(from, from.helloNanos, welcome.getRenewedList(), welcome.getEndedList());
    holder.onWelcome();
    tick(from);
  }

  private void reply(Current from, HeartbeatReply reply) {
    // Each is answered once; what is unknown here is a repetition.
    Long sent = from.sentNanos.remove(reply.getSeq());
    if (sent != null) {
      answered(from, sent, reply.getRenewedList(), reply.getEndedList());
    }
    if (onStopped != null && reply.getSeq() >= stopSeq) {
      finish();
    }
  }

  private void answered(Current from, long sent, List<LeaseRef> renewed, List<LeaseRef> ended) {
    from.answeredSentNanos =
        from.answeredSentNanos == 0 ? sent : LeaseDeadline.later(from.answeredSentNanos, sent);
    long deadline = LeaseDeadline.of(sent, from.leaseNanos);
    // Holder's answers change the collection.
    for (HeldLease lease : new ArrayList<>(holder.leases())) {
      if (renewed.contains(lease.ref())) {
        lease.renew(deadline);
        holder.onRenewed(lease);
      } else if (ended.contains(lease.ref())) {
        lease.end();
        holder.onEnded(lease);
      }
    }
  }

  private void tick(Current from) {
    if (from != current) {
      return;
    }
    long unanswered = from.sentNanos.values().stream().reduce(LeaseLoop::earlier).orElse(0L);
    if (!from.sentNanos.isEmpty() && loop.nanoTime() - unanswered > from.leaseNanos / 3 * 2) {
      // Half open: the other side is gone and nobody said so.
      broken(tryAgain("heartbeats stay unanswered"));
      return;
    }
    heartbeat(from);
    loop.schedule(from.intervalNanos, () -> tick(from));
  }

  private void heartbeat(Current to) {
    Heartbeat.Builder heartbeat = Heartbeat.newBuilder().setSeq(++to.seq);
    holder.leases().forEach(lease -> heartbeat.addLeases(lease.ref()));
    heartbeat
        .addAllPreparedJobs(holder.preparedJobs())
        .setLibtorch(holder.libtorch())
        .setReplicas(holder.takesReplicas());
    to.sentNanos.put(heartbeat.getSeq(), loop.nanoTime());
    to.send(WorkerMessage.newBuilder().setHeartbeat(heartbeat).build());
  }

  private static long earlier(long a, long b) {
    return a - b <= 0 ? a : b;
  }

  private static CoordinatorException tryAgain(String message) {
    return new CoordinatorException(CoordinatorException.Kind.TRY_AGAIN, message);
  }

  private static String text(CoordinatorException e) {
    return String.valueOf(e.getMessage());
  }
}
