package dev.baton.worker.daemon;

import dev.baton.transfer.ObjectTransfer;
import dev.baton.v1.Assignment;
import dev.baton.v1.AttemptOutcome;
import dev.baton.v1.CheckpointKept;
import dev.baton.v1.Draining;
import dev.baton.v1.FinishAttemptRequest;
import dev.baton.v1.GroupReady;
import dev.baton.v1.Hello;
import dev.baton.v1.JobSpec;
import dev.baton.v1.LeaseRef;
import dev.baton.v1.Machine;
import dev.baton.v1.Offer;
import dev.baton.v1.Order;
import dev.baton.v1.Probe;
import dev.baton.v1.WorkerMessage;
import dev.baton.worker.cache.DatasetCache;
import dev.baton.worker.config.PortRange;
import dev.baton.worker.lease.Coordinator;
import dev.baton.worker.lease.CoordinatorException;
import dev.baton.worker.lease.HeldLease;
import dev.baton.worker.lease.LeaseLoop;
import dev.baton.worker.lease.Loop;
import dev.baton.worker.process.TrainerCommand;
import dev.baton.worker.process.TrainerProcess;
import dev.baton.worker.process.TrainerSetting;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutorService;
import java.util.function.Predicate;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The worker: takes what the coordinator offers, prepares what it may offer next, and hands
 * everything over when it must go. Decides on the {@link Loop}; {@link #start} and {@link #leave}
 * may be called by any thread.
 */
public final class WorkerDaemon implements LeaseLoop.Holder, JobRun.Owner, JobRun.Outboxes {
  private static final Logger log = LoggerFactory.getLogger(WorkerDaemon.class);

  /** The contract's version that this worker speaks. */
  public static final int PROTOCOL = 1;

  private static final long CHECK_NANOS = 1_000_000_000L;
  private static final String HANDED_OVER = "handed over";
  // For an answer that usually takes milliseconds; a lease given to nobody ends by itself.
  private static final long LAST_OFFERS_NANOS = 2_000_000_000L;

  /**
   * Who this worker is.
   *
   * @param id random per start
   * @param name a label
   * @param slots jobs at a time
   */
  public record Identity(String id, String name, int slots) {}

  /**
   * Where other workers reach this one, for gangs.
   *
   * @param advertise the name or address of this machine; empty where it cannot be reached
   * @param probePort of the {@link ProbeListener}
   * @param loopback names the loopback interface, which workers may share
   * @param ports that rank 0 of a gang may listen on
   */
  public record Reach(String advertise, int probePort, String loopback, PortRange ports) {}

  /**
   * What a worker is made of.
   *
   * @param stallNanos without a step for at least so long, a trainer may count as stalled
   */
  public record Parts(
      Coordinator coordinator,
      ObjectTransfer transfer,
      DatasetCache cache,
      TrainerCommand trainers,
      Path workDir,
      Loop loop,
      ExecutorService io,
      long stallNanos) {}

  private final Identity identity;
  private final Machine machine;
  private final Reach reach;
  private final Parts parts;
  private final SpareTrainers trainers;
  private final JobRun.Context context;
  private final LeaseLoop leaseLoop;
  // In the order in which they came. A job may have several with a lease, one for each rank that is
  // here, and one without.
  private final List<JobRun> runs = new ArrayList<>();
  private final CompletableFuture<Void> welcomed = new CompletableFuture<>();
  private final CompletableFuture<Integer> ended = new CompletableFuture<>();
  private boolean draining;
  private String drainReason = "";
  // Why it takes no jobs for the time being; empty: it takes them.
  private String away = "";
  private boolean resting;
  private boolean leaving;
  private boolean parting;
  private boolean parted;
  private int givingBack;
  private int directories;

  public WorkerDaemon(Identity identity, Machine machine, Reach reach, Parts parts) {
    this.identity = identity;
    this.machine = machine;
    this.reach = reach;
    this.parts = parts;
    this.trainers =
        new SpareTrainers(
            parts.trainers(),
            new TrainerSetting(
                1, machine.getGpusCount() == 0 ? TrainerSetting.NO_GPU : firstGpu(machine)),
            parts.workDir().resolve("trainers"),
            parts.loop(),
            parts.io(),
            this::heartbeatNow);
    this.context =
        new JobRun.Context(
            trainers,
            new Stager(parts.coordinator(), parts.transfer(), parts.cache(), identity.id()),
            this,
            parts.loop(),
            parts.io(),
            reach.ports(),
            parts.stallNanos());
    this.leaseLoop = new LeaseLoop(parts.coordinator(), this, parts.loop());
  }

  /** Completed when the first session stands. */
  public CompletableFuture<Void> welcomed() {
    return welcomed;
  }

  /** Completed with the exit code when the worker has ended; exceptionally where it was refused. */
  public CompletableFuture<Integer> ended() {
    return ended;
  }

  /** Connects, and loads a spare trainer. */
  public void start() {
    parts
        .loop()
        .execute(
            () -> {
              leaseLoop.start();
              trainers.replenish();
              check();
            });
  }

  /** Hands everything over and ends; {@link #ended} tells when. */
  public void leave(String reason) {
    parts
        .loop()
        .execute(
            () -> {
              if (leaving) {
                return;
              }
              leaving = true;
              drain(reason);
              leaveIfIdle();
            });
  }

  private void drain(String reason) {
    if (draining) {
      return;
    }
    boolean known = unavailable();
    draining = true;
    log.info("draining: {}", reason);
    drainReason = reason;
    if (!known) {
      // First, so that another worker prepares while the checkpoints are written.
      announceDraining();
    }
    List.copyOf(runs).forEach(run -> run.handOver(HANDED_OVER));
  }

  /** Goes on with its jobs, and takes no more until {@link #work}. On the loop. */
  public void finish(String reason) {
    boolean known = unavailable();
    away = reason;
    log.info("no more jobs: {}", reason);
    if (!known) {
      announceDraining();
    }
  }

  /** Hands its jobs over, keeps no trainer, and takes no jobs until {@link #work}. On the loop. */
  public void rest(String reason) {
    finish(reason);
    resting = true;
    trainers.rest();
    List.copyOf(runs).forEach(run -> run.handOver(reason));
  }

  /** Takes jobs again, unless it drains. On the loop. */
  public void work() {
    away = "";
    resting = false;
    trainers.work();
    if (!draining) {
      log.info("takes jobs again");
      leaseLoop.send(
          WorkerMessage.newBuilder().setDraining(Draining.newBuilder().setOver(true)).build());
      replenish();
    }
  }

  private boolean unavailable() {
    return draining || !away.isEmpty();
  }

  private void announceDraining() {
    leaseLoop.send(
        WorkerMessage.newBuilder()
            .setDraining(Draining.newBuilder().setReason(draining ? drainReason : away))
            .build());
  }

  private void leaveIfIdle() {
    if (!leaving || !runs.isEmpty() || parting) {
      return;
    }
    parting = true;
    trainers.stop();
    // An offer may be on its way that was made before the coordinator heard of the leaving.
    leaseLoop.stop(
        LAST_OFFERS_NANOS,
        () -> {
          parted = true;
          endIfNothingIsLeft();
          parts.loop().schedule(LAST_OFFERS_NANOS, () -> ended.complete(0));
        });
  }

  private void endIfNothingIsLeft() {
    if (parted && givingBack == 0) {
      ended.complete(0);
    }
  }

  private void check() {
    List.copyOf(runs).forEach(JobRun::check);
    if (leaving) {
      // Nobody to hand over to: after the deadline nothing may be written any more.
      List.copyOf(runs).stream()
          .filter(run -> run.lease().map(HeldLease::expired).orElse(true))
          .forEach(run -> run.drop("the coordinator could not be reached before the deadline"));
    }
    if (!ended.isDone()) {
      parts.loop().schedule(CHECK_NANOS, this::check);
    }
  }

  // The session.

  @Override
  public Hello.Builder hello() {
    Machine.Builder declared = machine.toBuilder();
    if (!trainers.libtorch().isEmpty()) {
      declared.setLibtorch(trainers.libtorch());
    }
    return Hello.newBuilder()
        .setWorkerId(identity.id())
        .setName(identity.name())
        .setMachine(declared)
        .setSlots(identity.slots())
        .setDraining(unavailable())
        .setProtocol(PROTOCOL)
        .setAdvertiseHost(reach.advertise())
        .setProbePort(reach.probePort())
        .setHostId(reach.loopback())
        .setReplicas(trainers.replicas());
  }

  // The first session is there before the first trainer has loaded libtorch.
  private void heartbeatNow() {
    leaseLoop.heartbeatNow();
  }

  @Override
  public String libtorch() {
    return trainers.libtorch();
  }

  @Override
  public boolean takesReplicas() {
    return trainers.replicas();
  }

  @Override
  public Collection<HeldLease> leases() {
    List<HeldLease> leases = new ArrayList<>();
    runs.forEach(run -> run.lease().ifPresent(leases::add));
    return leases;
  }

  @Override
  public List<String> preparedJobs() {
    return runs.stream().filter(JobRun::isPrepared).map(JobRun::jobId).toList();
  }

  @Override
  public void onWelcome() {
    welcomed.complete(null);
    if (unavailable()) {
      // Perhaps decided since Hello was sent.
      announceDraining();
    }
    List.copyOf(runs).forEach(JobRun::onWelcome);
  }

  @Override
  public void onRenewed(HeldLease lease) {
    run(lease).ifPresent(JobRun::onRenewed);
  }

  @Override
  public void onEnded(HeldLease lease) {
    run(lease).ifPresent(run -> run.drop("the term is over"));
  }

  @Override
  public void onRefused(CoordinatorException why) {
    List.copyOf(runs).forEach(run -> run.drop("the coordinator refuses this worker"));
    trainers.stop();
    ended.completeExceptionally(why);
  }

  @Override
  public void onOffer(Offer offer, long deadlineNanos) {
    HeldLease lease = new HeldLease(offer.getLease(), deadlineNanos, parts.loop()::nanoTime);
    Assignment assignment = offer.getAssignment().toBuilder().clearStageOnly().build();
    if (isOld(offer.getLease())) {
      log.warn("{}: offered again; ignored", lease);
      return;
    }
    if (offer.hasContinues()) {
      carryOn(offer.getContinues(), lease, assignment);
    } else {
      begin(lease, assignment);
    }
    leaseLoop.heartbeatNow();
  }

  // Whether this lease, or one of a later term of its job, is held.
  private boolean isOld(LeaseRef offered) {
    return leasesOf(offered.getJobId())
        .anyMatch(
            held ->
                held.getTerm() > offered.getTerm()
                    || (held.getTerm() == offered.getTerm()
                        && held.getRank() == offered.getRank()));
  }

  private Stream<LeaseRef> leasesOf(String jobId) {
    return leases().stream().map(HeldLease::ref).filter(ref -> ref.getJobId().equals(jobId));
  }

  private void carryOn(LeaseRef continued, HeldLease lease, Assignment assignment) {
    Optional<JobRun> run = holder(continued);
    if (run.isEmpty() || !run.get().carryOn(lease, assignment)) {
      run.ifPresent(dead -> dead.drop("term " + lease.ref().getTerm() + " was offered"));
      giveBack(lease, "its trainer is gone");
      return;
    }
    log.info("{}: taken, goes on from term {}", lease, continued.getTerm());
    if (draining || resting) {
      // The offer had crossed the word of it.
      run.get().handOver(HANDED_OVER);
    }
  }

  private void begin(HeldLease lease, Assignment assignment) {
    String jobId = assignment.getJobId();
    if (!assignment.getJoins()) {
      // Everybody begins anew; else those that continue have offers of their own.
      runsOf(jobId)
          .filter(run -> run.lease().map(held -> isBefore(held, lease)).orElse(false))
          .forEach(run -> run.drop("term " + lease.ref().getTerm() + " was offered"));
    }
    Optional<JobRun> prepared = preparation(jobId);
    if (prepared.isPresent()
        && !(prepared.get().fits(assignment) && hasItsGpu(prepared.get().setting()))) {
      prepared.get().drop("prepared otherwise than it is offered");
      prepared = Optional.empty();
    }
    Optional<String> obstacle = obstacle(assignment.getSpec(), prepared.isPresent());
    if (obstacle.isPresent()) {
      giveBack(lease, obstacle.get());
      return;
    }
    log.info("{}: taken{}", lease, prepared.isPresent() ? ", prepared" : "");
    if (prepared.isPresent()) {
      prepared.get().grant(lease, assignment);
    } else {
      makeWay();
      JobRun run = create(assignment);
      run.grant(lease, assignment);
      run.start();
    }
  }

  private static boolean isBefore(HeldLease held, HeldLease offered) {
    return held.ref().getTerm() < offered.ref().getTerm();
  }

  private Stream<JobRun> runsOf(String jobId) {
    return List.copyOf(runs).stream().filter(run -> run.jobId().equals(jobId));
  }

  // The one without a lease.
  private Optional<JobRun> preparation(String jobId) {
    return runsOf(jobId).filter(run -> run.lease().isEmpty()).findFirst();
  }

  private Optional<JobRun> holder(LeaseRef lease) {
    return runs.stream()
        .filter(run -> run.lease().map(held -> held.ref().equals(lease)).orElse(false))
        .findFirst();
  }

  // Why an offer cannot be taken.
  private Optional<String> obstacle(JobSpec spec, boolean prepared) {
    if (unavailable()) {
      return Optional.of(draining ? "the worker is draining" : away);
    }
    if (leases().size() >= identity.slots()) {
      return Optional.of("every slot is taken");
    }
    if (!prepared && setting(spec).isEmpty()) {
      return Optional.of("no GPU is free");
    }
    return Optional.empty();
  }

  private void giveBack(HeldLease lease, String reason) {
    log.warn("{}: given back: {}", lease, reason);
    FinishAttemptRequest request =
        FinishAttemptRequest.newBuilder()
            .setLease(lease.ref())
            .setOutcome(AttemptOutcome.ATTEMPT_OUTCOME_RELEASED)
            .setMessage(reason)
            .build();
    givingBack++;
    parts
        .io()
        .execute(
            () -> {
              try {
                parts.coordinator().finishAttempt(request);
              } catch (CoordinatorException e) {
                // It is in no heartbeat, and ends by itself.
                log.info("{}: {}", lease, e.getMessage());
              } finally {
                parts
                    .loop()
                    .execute(
                        () -> {
                          givingBack--;
                          endIfNothingIsLeft();
                        });
              }
            });
  }

  @Override
  public void onPrepare(Assignment assignment) {
    String jobId = assignment.getJobId();
    Optional<JobRun> present = preparation(jobId);
    boolean held = leasesOf(jobId).findAny().isPresent();
    if (unavailable()
        || (held && !assignment.getJoins())
        || present.map(run -> run.fits(assignment)).orElse(false)) {
      return;
    }
    Optional<TrainerSetting> setting = setting(assignment.getSpec());
    if (setting.isEmpty()) {
      log.info("job {}: no GPU is free to prepare it on", jobId);
      return;
    }
    present.ifPresent(run -> run.drop("to be prepared anew"));
    if (!assignment.getStageOnly()) {
      makeWay();
    }
    log.info("job {}: to be {}", jobId, assignment.getStageOnly() ? "staged" : "prepared");
    create(assignment).start();
    if (assignment.getStageOnly()) {
      trainers.expect(setting.get());
    }
  }

  // As many trainers with jobs as slots, and no more: the oldest preparation goes.
  private void makeWay() {
    List<JobRun> holders = runs.stream().filter(JobRun::hasTrainer).toList();
    if (holders.size() >= identity.slots()) {
      holders.stream()
          .filter(run -> run.lease().isEmpty())
          .findFirst()
          .ifPresent(run -> run.drop("another job comes first"));
    }
  }

  private JobRun create(Assignment assignment) {
    JobRun run =
        new JobRun(
            context,
            this,
            assignment,
            setting(assignment.getSpec()).orElseThrow(),
            parts.workDir().resolve("attempts").resolve(Integer.toString(++directories)));
    runs.add(run);
    return run;
  }

  @Override
  public void onUnprepare(String jobId) {
    preparation(jobId).ifPresent(run -> run.drop("no longer to be prepared"));
  }

  @Override
  public void onOrder(Order order) {
    switch (order.getKind()) {
      case ORDER_KIND_CANCEL ->
          holder(order.getLease()).ifPresent(run -> run.drop(reason(order, "cancelled")));
      case ORDER_KIND_HAND_OVER ->
          holder(order.getLease()).ifPresent(run -> run.handOver(reason(order, HANDED_OVER)));
      case ORDER_KIND_CHECKPOINT_NOW -> holder(order.getLease()).ifPresent(JobRun::checkpointNow);
      case ORDER_KIND_DRAIN -> drain(reason(order, "the coordinator says so"));
      case ORDER_KIND_UNSPECIFIED, UNRECOGNIZED ->
          log.warn("an order that this version does not know: {}", order.getKindValue());
    }
  }

  private static String reason(Order order, String otherwise) {
    return order.getReason().isEmpty() ? otherwise : order.getReason();
  }

  @Override
  public void onGroupReady(GroupReady ready) {
    holder(ready.getLease()).ifPresent(run -> run.onGroupReady(ready));
  }

  @Override
  public void onCheckpointKept(CheckpointKept kept) {
    holder(kept.getLease()).ifPresent(run -> run.onCommitted(kept.getStep()));
  }

  @Override
  public void onProbe(Probe probe) {
    var unused =
        PeerProbe.all(probe, parts.io())
            .thenAcceptAsync(
                result -> say(WorkerMessage.newBuilder().setProbeResult(result).build()),
                parts.loop());
  }

  private Optional<JobRun> run(HeldLease lease) {
    return runs.stream().filter(run -> run.lease().map(l -> l == lease).orElse(false)).findFirst();
  }

  // The runs.

  @Override
  public void onPrepared(JobRun run) {
    leaseLoop.heartbeatNow();
    replenish();
  }

  @Override
  public void onStep(JobRun run) {
    replenish();
  }

  @Override
  public void onOver(JobRun run, String why) {
    runs.remove(run);
    if (leaving) {
      leaveIfIdle();
      return;
    }
    leaseLoop.heartbeatNow();
    // Not at once: whoever ended this run may be about to start another.
    parts.loop().execute(this::replenish);
  }

  // A new spare takes more than a second of a processor: never while a job is on its way.
  private void replenish() {
    if (!leaving && runs.stream().noneMatch(JobRun::isStarting)) {
      trainers.replenish();
    }
  }

  @Override
  public void say(WorkerMessage message) {
    leaseLoop.send(message);
  }

  @Override
  public void askForLeases() {
    leaseLoop.heartbeatNow();
  }

  @Override
  public LogShipper logs(HeldLease lease, TrainerProcess trainer, long from) {
    return new LogShipper(parts.coordinator(), lease, trainer.output(), from);
  }

  @Override
  public AttemptOutbox outbox(
      HeldLease lease, Optional<LogShipper> logs, AttemptOutbox.Listener listener) {
    return new AttemptOutbox(
        parts.coordinator(), parts.transfer(), lease, logs, parts.loop(), listener);
  }

  // What a job's trainer is started with; empty where it wants a GPU and none is free.
  private Optional<TrainerSetting> setting(JobSpec spec) {
    int threads = Math.max(1, spec.getResources().getCpus());
    boolean wantsGpu =
        spec.getResources().hasGpus()
            ? spec.getResources().getGpus() > 0
            : machine.getGpusCount() > 0;
    if (!wantsGpu) {
      return Optional.of(new TrainerSetting(threads, TrainerSetting.NO_GPU));
    }
    // One that no other trainer uses, or one that only a preparation does.
    Set<Integer> used = gpus(JobRun::hasTrainer);
    return freeGpu(used)
        .or(() -> freeGpu(gpus(run -> run.lease().isPresent())))
        .map(index -> new TrainerSetting(threads, index));
  }

  private Optional<Integer> freeGpu(Set<Integer> taken) {
    return machine.getGpusList().stream()
        .map(gpu -> gpu.getIndex())
        .filter(index -> !taken.contains(index))
        .findFirst();
  }

  private Set<Integer> gpus(Predicate<JobRun> which) {
    return runs.stream()
        .filter(which)
        .map(run -> run.setting().gpu())
        .collect(Collectors.toUnmodifiableSet());
  }

  // Whether no lease uses the GPU of a preparation.
  private boolean hasItsGpu(TrainerSetting setting) {
    return setting.gpu() == TrainerSetting.NO_GPU
        || !gpus(run -> run.lease().isPresent()).contains(setting.gpu());
  }

  private static int firstGpu(Machine machine) {
    return machine.getGpus(0).getIndex();
  }
}
