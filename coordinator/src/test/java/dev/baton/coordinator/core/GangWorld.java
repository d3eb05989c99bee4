package dev.baton.coordinator.core;

import static org.assertj.core.api.Assertions.assertThat;

import dev.baton.v1.AttemptOutcome;
import dev.baton.v1.BeginAttemptRequest;
import dev.baton.v1.CommitCheckpointRequest;
import dev.baton.v1.CompletedUpload;
import dev.baton.v1.CoordinatorMessage;
import dev.baton.v1.Draining;
import dev.baton.v1.FinishAttemptRequest;
import dev.baton.v1.GroupBroken;
import dev.baton.v1.GroupWaiting;
import dev.baton.v1.Heartbeat;
import dev.baton.v1.Hello;
import dev.baton.v1.JobSpec;
import dev.baton.v1.LeaseRef;
import dev.baton.v1.Machine;
import dev.baton.v1.Offer;
import dev.baton.v1.Order;
import dev.baton.v1.Probe;
import dev.baton.v1.ProbeResult;
import dev.baton.v1.Progress;
import dev.baton.v1.ProgressReport;
import dev.baton.v1.ReplicaProgress;
import dev.baton.v1.Replicas;
import dev.baton.v1.Result;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.function.Consumer;

/**
 * A core on a manual clock, and workers whose heartbeats go on while the clock does: each lists the
 * leases that it was offered until they are over.
 */
final class GangWorld extends ManualCore {

  /** A worker, played by hand but for its heartbeats. */
  final class Daemon {
    final String id;
    private final Hello.Builder hello;
    private long session;
    private boolean connected;
    private int seen;
    boolean beats = true;

    /** What its heartbeats say of its libtorch. */
    String libtorch = "";

    boolean replicas;
    final Set<LeaseRef> leases = new LinkedHashSet<>();
    final Set<String> prepared = new LinkedHashSet<>();

    private Daemon(String id, Hello.Builder hello) {
      this.id = id;
      this.hello = hello;
    }

    void connect() {
      connected = true;
      session++;
      Hello message = hello.setSession(session).clearLeases().addAllLeases(leases).build();
      tell(s -> s.openSession(message, now()));
      take();
    }

    void disconnect() {
      take();
      connected = false;
      tell(s -> s.closeSession(id, session, now()));
    }

    void beat() {
      take();
      tell(
          s ->
              s.heartbeat(
                  id,
                  session,
                  Heartbeat.newBuilder()
                      .setSeq(1)
                      .addAllLeases(leases)
                      .addAllPreparedJobs(prepared)
                      .setLibtorch(libtorch)
                      .setReplicas(replicas)
                      .build(),
                  now()));
      take();
    }

    /** Reads what was sent to it. */
    void take() {
      List<CoordinatorMessage> messages = sent(id);
      for (; seen < messages.size(); seen++) {
        CoordinatorMessage message = messages.get(seen);
        switch (message.getMessageCase()) {
          case OFFER -> {
            leases.remove(message.getOffer().getContinues());
            leases.add(message.getOffer().getLease());
          }
          case ORDER -> {
            if (message.getOrder().getKind() == dev.baton.v1.OrderKind.ORDER_KIND_CANCEL) {
              leases.remove(message.getOrder().getLease());
            }
          }
          case WELCOME -> message.getWelcome().getEndedList().forEach(leases::remove);
          case HEARTBEAT_REPLY ->
              message.getHeartbeatReply().getEndedList().forEach(leases::remove);
          default -> {}
        }
      }
    }

    /** What was sent to it so far never arrives. */
    void forgetOffers() {
      seen = sent(id).size();
    }

    void drain() {
      tell(s -> s.draining(id, session, Draining.newBuilder().setReason("SIGTERM").build(), now()));
    }

    void waits(LeaseRef lease) {
      tell(
          s ->
              s.groupWaiting(
                  id,
                  session,
                  GroupWaiting.newBuilder()
                      .setLease(lease)
                      .setPort(lease.getRank() == 0 ? 4711 : 0)
                      .build(),
                  now()));
    }

    void broke(LeaseRef lease) {
      tell(
          s ->
              s.groupBroken(
                  id,
                  session,
                  GroupBroken.newBuilder().setLease(lease).setMessage("closed by peer").build(),
                  now()));
    }

    void reports(LeaseRef lease, long step, double allReduce) {
      tell(
          s ->
              s.progress(
                  id,
                  session,
                  ProgressReport.newBuilder()
                      .setLease(lease)
                      .setProgress(Progress.newBuilder().setStep(step).setTotalSteps(100))
                      .setReplica(ReplicaProgress.newBuilder().setAllReduce(allReduce))
                      .build(),
                  now()));
    }

    /** Answers its newest probe. */
    void reaches(Daemon... others) {
      Probe probe = probes().get(probes().size() - 1);
      tell(
          s ->
              s.probeResult(
                  id,
                  session,
                  ProbeResult.newBuilder()
                      .setProbeId(probe.getProbeId())
                      .addAllWorkerIds(Arrays.stream(others).map(d -> d.id).toList())
                      .build(),
                  now()));
    }

    List<Probe> probes() {
      return sent(id).stream()
          .filter(CoordinatorMessage::hasProbe)
          .map(CoordinatorMessage::getProbe)
          .toList();
    }

    List<Offer> offers() {
      return sent(id).stream()
          .filter(CoordinatorMessage::hasOffer)
          .map(CoordinatorMessage::getOffer)
          .toList();
    }

    Offer offer() {
      return offers().get(offers().size() - 1);
    }

    /** The newest lease that it was offered. */
    LeaseRef lease() {
      return offer().getLease();
    }

    List<Order> orders() {
      return sent(id).stream()
          .filter(CoordinatorMessage::hasOrder)
          .map(CoordinatorMessage::getOrder)
          .toList();
    }

    CoordinatorMessage last() {
      List<CoordinatorMessage> all = sent(id);
      return all.get(all.size() - 1);
    }
  }

  final Map<String, Daemon> daemons = new LinkedHashMap<>();

  GangWorld() {
    start();
  }

  /** Whoever is connected sends its heartbeats. */
  @Override
  void ticked(long beforeMs) {
    if (now().epochMs() / 3_000 != beforeMs / 3_000) {
      daemons.values().stream().filter(d -> d.connected && d.beats).forEach(Daemon::beat);
    }
  }

  /** The coordinator stands still; so do heartbeats. */
  void suspend(long ms) {
    tell(s -> s.tick(later(ms)));
  }

  void restart() {
    daemons.values().forEach(Daemon::take);
    daemons.values().forEach(d -> d.connected = false);
    startAgain();
  }

  // ---- Workers

  Daemon daemon(String id) {
    return Objects.requireNonNull(daemons.get(id), id);
  }

  /** A worker with this many slots on a machine of its own. */
  Daemon worker(String id, int slots) {
    return worker(id, slots, hello -> {});
  }

  /** One that others can reach. */
  Daemon reachable(String id, int slots) {
    return worker(id, slots, hello -> hello.setAdvertiseHost(id + ".lan").setProbePort(7_000));
  }

  Daemon worker(String id, int slots, Consumer<Hello.Builder> more) {
    Hello.Builder hello =
        Hello.newBuilder()
            .setWorkerId(id)
            .setName(id)
            .setSlots(slots)
            .setProtocol(Scheduler.PROTOCOL)
            .setHostId("host-of-" + id)
            .setReplicas(true)
            .setMachine(
                Machine.newBuilder()
                    .setCpuModel("cpu")
                    .setCpus(16)
                    .setMemoryBytes(64L << 30)
                    .setLibtorch("2.10"));
    more.accept(hello);
    Daemon daemon = new Daemon(id, hello);
    daemons.put(id, daemon);
    daemon.connect();
    return daemon;
  }

  // ---- Jobs

  static JobSpec.Builder spec(int min, int max) {
    return TestJobs.regression(10_000, 100)
        .setReplicas(Replicas.newBuilder().setMin(min).setMax(max));
  }

  String submit(int min, int max) {
    return submit(spec(min, max));
  }

  String why(String job) {
    return view(job).getReason();
  }

  /** Names of the workers of the job's newest attempt, by rank. */
  List<String> members(String job) {
    dev.baton.v1.Job view = view(job);
    return view.getAttempts(view.getAttemptsCount() - 1).getWorkersList();
  }

  long term(String job) {
    dev.baton.v1.Job view = view(job);
    return view.getAttempts(view.getAttemptsCount() - 1).getTerm();
  }

  /** The leases of the job's current term, by rank. */
  List<LeaseRef> leases(String job) {
    Lease lease = database.stores().jobs().find(job).orElseThrow().lease();
    assertThat(lease).as("lease of " + job).isNotNull();
    List<LeaseRef> refs = new ArrayList<>();
    for (int rank = 0; lease != null && rank < lease.members().size(); rank++) {
      refs.add(Outbox.ref(job, lease, rank));
    }
    return refs;
  }

  Daemon holder(String job, int rank) {
    Lease lease = database.stores().jobs().find(job).orElseThrow().lease();
    return daemon(lease == null ? "" : lease.members().get(rank).workerId());
  }

  /** Has the group of the current term form, and rank 0 begin at this step. */
  void form(String job, long step) {
    List<LeaseRef> leases = leases(job);
    for (LeaseRef lease : leases) {
      holder(job, lease.getRank()).waits(lease);
    }
    boolean continues =
        holder(job, 0).offers().stream()
            .anyMatch(offer -> offer.getLease().equals(leases.get(0)) && offer.hasContinues());
    begin(leases.get(0), step, continues);
  }

  void begin(LeaseRef lease, long step, boolean inMemory) {
    tell(
        s ->
            s.beginAttempt(
                BeginAttemptRequest.newBuilder()
                    .setLease(lease)
                    .setResumedStep(step)
                    .setFromMemory(inMemory)
                    .setKind("cpu 1 thread")
                    .setTotalSteps(100)
                    .build(),
                now()));
  }

  void commit(LeaseRef lease, long step, boolean release) {
    commit(lease, upload(lease), step, release);
  }

  void commit(LeaseRef lease, String upload, long step, boolean release) {
    tell(
        s ->
            s.commitCheckpoint(
                CommitCheckpointRequest.newBuilder()
                    .setLease(lease)
                    .setUpload(CompletedUpload.newBuilder().setUploadId(upload))
                    .setStep(step)
                    .setRelease(release)
                    .build(),
                now()));
  }

  void finish(LeaseRef lease, AttemptOutcome outcome) {
    tell(
        s ->
            s.finishAttempt(
                FinishAttemptRequest.newBuilder()
                    .setLease(lease)
                    .setOutcome(outcome)
                    .setMessage("it ended so")
                    .setResult(Result.newBuilder().setWeightsSha256("abc"))
                    .build(),
                now()));
  }

  /** The messages of a job's events of this name. */
  List<String> events(String job, String name) {
    return effects.stream()
        .filter(e -> e instanceof Effect.Notify n && n.jobId().equals(job))
        .map(e -> ((Effect.Notify) e).event())
        .filter(e -> e.getEvent().equals(name))
        .map(dev.baton.v1.JobEvent::getMessage)
        .toList();
  }
}
