package dev.baton.worker.daemon;

import dev.baton.transfer.ObjectTransfer;
import dev.baton.v1.Assignment;
import dev.baton.v1.AttemptOutcome;
import dev.baton.v1.CheckpointKept;
import dev.baton.v1.Draining;
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
import java.nio.file.Path;
import java.util.Collection;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutorService;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The worker: takes what the coordinator offers, prepares what it may offer next, and hands
 * everything over when it must go. Decides on the {@link Loop}; {@link #start} and {@link #leave}
 * may be called by any thread.
 */
public final class WorkerDaemon implements LeaseLoop.Holder, JobRun.Owner {
  private static final Logger log = LoggerFactory.getLogger(WorkerDaemon.class);

  /** The contract's version that this worker speaks. */
  public static final int PROTOCOL = 1;

  private static final long CHECK_NANOS = 1_000_000_000L;
  private static final String HANDED_OVER = "handed over";

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

  /** Whether it takes jobs, and what becomes of those that it has. */
  private enum Duty {
    /** It takes jobs. */
    WORKING,
    /** It takes none for the time being, and goes on with those that it has. */
    FINISHING,
    /**
     * It takes none for the time being, has handed over those that it had, and keeps no trainer.
     */
    RESTING,
    /** It takes none any more, and hands over those that it has. */
    DRAINING;

    boolean handsOver() {
      return this == RESTING || this == DRAINING;
    }
  }

  private final Identity identity;
  private final Machine machine;
  private final Reach reach;
  private final Parts parts;
  private final SpareTrainers trainers;
  private final JobRun.Context context;
  private final LeaseLoop leaseLoop;
  private final Parting parting;
  private final Runs runs;
  private final CompletableFuture<@Nullable Void> welcomed = new CompletableFuture<>();
  private Duty duty = Duty.WORKING;
  // Why it does not work.
  private String reason = "";
  private boolean helloSaidDraining;
  private int directories;

  public WorkerDaemon(Identity identity, Machine machine, Reach reach, Parts parts) {
    this.identity = identity;
    this.machine = machine;
    this.reach = reach;
    this.parts = parts;
    this.runs = new Runs(machine);
    this.trainers =
        new SpareTrainers(
            parts.trainers(),
            runs.firstSetting(),
            parts.workDir().resolve("trainers"),
            parts.loop(),
            parts.io(),
            this::heartbeatNow);
    this.context =
        new JobRun.Context(
            trainers,
            new Stager(parts.coordinator(), parts.transfer(), parts.cache(), identity.id()),
            new Outboxes(parts.coordinator(), parts.transfer(), parts.loop()),
            parts.loop(),
            parts.io(),
            reach.ports(),
            parts.stallNanos());
    this.leaseLoop = new LeaseLoop(parts.coordinator(), this, parts.loop());
    this.parting = new Parting(parts.coordinator(), leaseLoop, parts.loop(), parts.io());
  }

  /** Completed when the first session stands. */
  public CompletableFuture<@Nullable Void> welcomed() {
    return welcomed;
  }

  /** Completed when the worker has ended; exceptionally where it was refused. */
  public CompletableFuture<@Nullable Void> ended() {
    return parting.ended();
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
              if (parting.want()) {
                drain(reason);
                leaveIfIdle();
              }
            });
  }

  private void drain(String why) {
    if (duty != Duty.DRAINING) {
      log.info("draining: {}", why);
      turnTo(Duty.DRAINING, why);
      trainers.rest();
      handOverAll(HANDED_OVER);
    }
  }

  /** Goes on with its jobs, and takes no more until {@link #work}. On the loop. */
  public void finish(String why) {
    if (duty != Duty.DRAINING) {
      log.info("no more jobs: {}", why);
      turnTo(Duty.FINISHING, why);
    }
  }

  /** Hands its jobs over, keeps no trainer, and takes no jobs until {@link #work}. On the loop. */
  public void rest(String why) {
    if (duty != Duty.DRAINING) {
      log.info("no more jobs, no trainer: {}", why);
      turnTo(Duty.RESTING, why);
      trainers.rest();
      handOverAll(why);
    }
  }

  /** Takes jobs again, unless it drains. On the loop. */
  public void work() {
    if (duty != Duty.DRAINING) {
      log.info("takes jobs again");
      duty = Duty.WORKING;
      trainers.work();
      announceWorking();
      replenish();
    }
  }

  // Told before anything is handed over, so that another worker prepares while the checkpoints are
  // written.
  private void turnTo(Duty next, String why) {
    boolean known = duty != Duty.WORKING;
    duty = next;
    reason = why;
    if (!known) {
      announceDraining();
    }
  }

  private void handOverAll(String why) {
    runs.all().forEach(run -> run.handOver(why));
  }

  private void announceWorking() {
    leaseLoop.send(
        WorkerMessage.newBuilder().setDraining(Draining.newBuilder().setOver(true)).build());
  }

  private void announceDraining() {
    leaseLoop.send(
        WorkerMessage.newBuilder().setDraining(Draining.newBuilder().setReason(reason)).build());
  }

  private void leaveIfIdle() {
    if (parting.isWanted() && runs.isEmpty()) {
      trainers.stop();
      parting.begin();
    }
  }

  private void check() {
    runs.all().forEach(JobRun::check);
    if (parting.isWanted()) {
      // Nobody to hand over to: after the deadline nothing may be written any more.
      runs.all().stream()
          .filter(run -> run.lease().map(HeldLease::expired).orElse(true))
          .forEach(run -> run.drop("the coordinator could not be reached before the deadline"));
    }
    if (!parting.ended().isDone()) {
      parts.loop().schedule(CHECK_NANOS, this::check);
    }
  }

  // The session.

  @Override
  public Hello.Builder hello() {
    helloSaidDraining = duty != Duty.WORKING;
    Machine.Builder declared = machine.toBuilder();
    if (!trainers.libtorch().isEmpty()) {
      declared.setLibtorch(trainers.libtorch());
    }
    return Hello.newBuilder()
        .setWorkerId(identity.id())
        .setName(identity.name())
        .setMachine(declared)
        .setSlots(identity.slots())
        .setDraining(helloSaidDraining)
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
    return runs.leases();
  }

  @Override
  public List<String> preparedJobs() {
    return runs.all().stream().filter(JobRun::isPrepared).map(JobRun::jobId).toList();
  }

  @Override
  public void onWelcome() {
    welcomed.complete(null);
    // Perhaps decided since Hello was sent: what was announced meanwhile is lost.
    if (duty != Duty.WORKING) {
      announceDraining();
    } else if (helloSaidDraining) {
      announceWorking();
    }
    runs.all().forEach(JobRun::onWelcome);
  }

  @Override
  public void onRenewed(HeldLease lease) {
    runs.of(lease).ifPresent(JobRun::onRenewed);
  }

  @Override
  public void onEnded(HeldLease lease) {
    runs.of(lease).ifPresent(run -> run.drop("the term is over"));
  }

  @Override
  public void onRefused(CoordinatorException why) {
    runs.all().forEach(run -> run.drop("the coordinator refuses this worker"));
    trainers.stop();
    parting.refused(why);
  }

  @Override
  public void onOffer(Offer offer, long deadlineNanos) {
    HeldLease lease = new HeldLease(offer.getLease(), deadlineNanos, parts.loop()::nanoTime);
    Assignment assignment = offer.getAssignment().toBuilder().clearStageOnly().build();
    if (runs.holdsAsNew(offer.getLease())) {
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

  private void carryOn(LeaseRef continued, HeldLease lease, Assignment assignment) {
    Optional<JobRun> run = runs.holder(continued);
    if (run.isEmpty() || !run.get().carryOn(lease, assignment)) {
      run.ifPresent(dead -> dead.drop("term " + lease.ref().getTerm() + " was offered"));
      giveBack(lease, AttemptOutcome.ATTEMPT_OUTCOME_RELEASED, "its trainer is gone");
      return;
    }
    log.info("{}: taken, goes on from term {}", lease, continued.getTerm());
    if (duty.handsOver()) {
      // The offer had crossed the word of it.
      run.get().handOver(HANDED_OVER);
    }
  }

  private void begin(HeldLease lease, Assignment assignment) {
    String jobId = assignment.getJobId();
    if (!assignment.getJoins()) {
      // Everybody begins anew; else those that continue have offers of their own.
      runs.of(jobId)
          .filter(run -> run.lease().map(held -> isBefore(held, lease)).orElse(false))
          .forEach(run -> run.drop("term " + lease.ref().getTerm() + " was offered"));
    }
    Optional<JobRun> prepared = runs.preparation(jobId);
    if (prepared.isPresent()
        && !(prepared.get().fits(assignment) && runs.hasItsGpu(prepared.get()))) {
      prepared.get().drop("prepared otherwise than it is offered");
      prepared = Optional.empty();
    }
    Optional<String> obstacle = obstacle(assignment.getSpec(), prepared.isPresent());
    if (obstacle.isPresent()) {
      giveBack(lease, AttemptOutcome.ATTEMPT_OUTCOME_RELEASED, obstacle.get());
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

  // Why an offer cannot be taken.
  private Optional<String> obstacle(JobSpec spec, boolean prepared) {
    if (duty != Duty.WORKING) {
      return Optional.of(duty == Duty.DRAINING ? "the worker is draining" : reason);
    }
    if (runs.leases().size() >= identity.slots()) {
      return Optional.of("every slot is taken");
    }
    if (!prepared && runs.setting(spec).isEmpty()) {
      return Optional.of("no GPU is free");
    }
    return Optional.empty();
  }

  @Override
  public void giveBack(HeldLease lease, AttemptOutcome outcome, String why) {
    parting.giveBack(lease, outcome, why);
  }

  @Override
  public void onPrepare(Assignment assignment) {
    String jobId = assignment.getJobId();
    Optional<JobRun> present = runs.preparation(jobId);
    boolean held = runs.holds(jobId);
    if (duty != Duty.WORKING
        || (held && !assignment.getJoins())
        || present.map(run -> run.fits(assignment)).orElse(false)) {
      return;
    }
    if (runs.setting(assignment.getSpec()).isEmpty()) {
      log.info("job {}: no GPU is free to prepare it on", jobId);
      return;
    }
    present.ifPresent(run -> run.drop("to be prepared anew"));
    if (!assignment.getStageOnly()) {
      makeWay();
    }
    log.info("job {}: to be {}", jobId, assignment.getStageOnly() ? "staged" : "prepared");
    JobRun run = create(assignment);
    run.start();
    if (assignment.getStageOnly()) {
      trainers.expect(run.setting());
    }
  }

  // As many trainers with jobs as slots, and no more: the oldest preparation goes.
  private void makeWay() {
    if (runs.trainers() >= identity.slots()) {
      runs.oldestPreparation().ifPresent(run -> run.drop("another job comes first"));
    }
  }

  private JobRun create(Assignment assignment) {
    JobRun run =
        new JobRun(
            context,
            this,
            assignment,
            runs.setting(assignment.getSpec()).orElseThrow(),
            parts.workDir().resolve("attempts").resolve(Integer.toString(++directories)));
    runs.add(run);
    return run;
  }

  @Override
  public void onUnprepare(String jobId) {
    runs.preparation(jobId).ifPresent(run -> run.drop("no longer to be prepared"));
  }

  @Override
  public void onOrder(Order order) {
    switch (order.getKind()) {
      case ORDER_KIND_CANCEL ->
          runs.holder(order.getLease()).ifPresent(run -> run.drop(whyOf(order, "cancelled")));
      case ORDER_KIND_HAND_OVER ->
          runs.holder(order.getLease()).ifPresent(run -> run.handOver(whyOf(order, HANDED_OVER)));
      case ORDER_KIND_CHECKPOINT_NOW ->
          runs.holder(order.getLease()).ifPresent(JobRun::checkpointNow);
      case ORDER_KIND_DRAIN -> drain(whyOf(order, "the coordinator says so"));
      case ORDER_KIND_UNSPECIFIED, UNRECOGNIZED ->
          log.warn("an order that this version does not know: {}", order.getKindValue());
    }
  }

  private static String whyOf(Order order, String otherwise) {
    return order.getReason().isEmpty() ? otherwise : order.getReason();
  }

  @Override
  public void onGroupReady(GroupReady ready) {
    runs.holder(ready.getLease()).ifPresent(run -> run.onGroupReady(ready));
  }

  @Override
  public void onCheckpointKept(CheckpointKept kept) {
    runs.holder(kept.getLease()).ifPresent(run -> run.onCommitted(kept.getStep()));
  }

  @Override
  public void onProbe(Probe probe) {
    var unused =
        PeerProbe.all(probe, parts.io())
            .thenAcceptAsync(
                result -> say(WorkerMessage.newBuilder().setProbeResult(result).build()),
                parts.loop());
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
    if (parting.isWanted()) {
      leaveIfIdle();
      return;
    }
    leaseLoop.heartbeatNow();
    // Not at once: whoever ended this run may be about to start another.
    parts.loop().execute(this::replenish);
  }

  // A new spare takes more than a second of a processor: never while a job is on its way.
  private void replenish() {
    if (duty == Duty.WORKING && runs.all().stream().noneMatch(JobRun::isStarting)) {
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
}
