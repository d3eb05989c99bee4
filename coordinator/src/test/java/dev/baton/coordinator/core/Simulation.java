package dev.baton.coordinator.core;

import com.google.protobuf.Duration;
import dev.baton.coordinator.testing.InMemoryStores;
import dev.baton.v1.Assignment;
import dev.baton.v1.CheckpointPolicy;
import dev.baton.v1.JobSpec;
import dev.baton.v1.Replicas;
import dev.baton.v1.Retries;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.PriorityQueue;
import java.util.Set;
import java.util.SplittableRandom;
import java.util.function.BiFunction;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/**
 * A coordinator, its workers, an object store and their network in virtual time, with everything
 * drawn from one seed: a failure replays. For a while faults strike; then they stop, and every
 * promise must hold. {@link SimulatedWorker} keeps the rules of the design as a daemon has to.
 */
final class Simulation {

  static final long MS = 1_000_000;
  static final long SECOND = 1_000 * MS;
  static final LeasePolicy POLICY =
      new LeasePolicy(
          java.time.Duration.ofSeconds(1),
          java.time.Duration.ofSeconds(4),
          java.time.Duration.ofMillis(700));

  private static final long FAULTS_END = 60 * SECOND;
  private static final long PATIENCE = 1_200 * SECOND;

  /** Which faults strike. */
  enum Weather {
    /** Everything there is. */
    STORM,
    /** The coordinator's alone: no job may notice. */
    COORDINATOR_ONLY,
    /** Workers leave in good order: no step may be lost. */
    DRAINS_ONLY
  }

  /** A promise was broken. */
  static final class Broken extends AssertionError {
    private static final long serialVersionUID = 1L;

    Broken(String message) {
      super(message);
    }
  }

  /** The coordinator could not be reached, or its disk is full. */
  static final class Unavailable extends RuntimeException {
    private static final long serialVersionUID = 1L;

    Unavailable() {
      super("unavailable", null, false, false);
    }
  }

  /** What lies in the object store. */
  record Blob(long step, long state, boolean whole) {}

  private record Event(long time, long order, Runnable action) {}

  private record Command(
      BiFunction<Scheduler, Now, Object> body,
      Consumer<Object> done,
      Consumer<RuntimeException> failed) {}

  final SplittableRandom random;
  final Weather weather;
  final Map<String, Blob> objects = new HashMap<>();
  final Map<String, SimulatedJob> submitted = new HashMap<>();
  final List<SimulatedWorker> workers = new ArrayList<>();
  long crashesReported;

  private final PriorityQueue<Event> events =
      new PriorityQueue<>(
          (a, b) ->
              a.time() != b.time()
                  ? Long.compare(a.time(), b.time())
                  : Long.compare(a.order(), b.order()));
  private final InMemoryStores database = new InMemoryStores();
  private final List<SimulatedJob> plan = new ArrayList<>();
  private final Map<String, Stream> streams = new HashMap<>();
  final Promises promises;

  private long time;
  private long order;
  private @Nullable Scheduler scheduler;
  private int boot;
  private int ended;
  private long monotonicOrigin;
  private long wallOffsetMs;
  private long suspendedUntil;
  private List<Command> group = new ArrayList<>();
  private boolean groupScheduled;

  Simulation(long seed, Weather weather) {
    this.random = new SplittableRandom(seed);
    this.weather = weather;
    this.promises = new Promises(this, database);
  }

  // ---- Virtual time

  long time() {
    return time;
  }

  void after(long nanos, Runnable action) {
    events.add(new Event(time + nanos, order++, action));
  }

  /** Uniform in [least, most). */
  long between(long least, long most) {
    return random.nextLong(least, most);
  }

  boolean chance(double probability) {
    return random.nextDouble() < probability;
  }

  boolean faulty() {
    return time < FAULTS_END && weather == Weather.STORM;
  }

  /** Runs until every job has ended, or fails. */
  void run() {
    boot();
    int count = 2 + random.nextInt(3);
    boolean oneMachine = chance(0.4);
    int slotsTogether = 0;
    for (int i = 0; i < count; i++) {
      boolean first = i == 0;
      SimulatedWorker worker =
          new SimulatedWorker(
              this,
              "w" + i,
              (first ? 2 : 1) + random.nextInt(2),
              oneMachine ? "machine" : "machine-" + i,
              chance(0.8),
              first || oneMachine || chance(0.9));
      slotsTogether += worker.slots();
      workers.add(worker);
      after(between(0, 3 * SECOND), worker::start);
    }
    int jobs = 1 + random.nextInt(4);
    for (int i = 0; i < jobs; i++) {
      // What one worker, or all of one machine, can hold once it is idle.
      int min = chance(0.5) ? 1 : 1 + random.nextInt(oneMachine ? Math.min(4, slotsTogether) : 2);
      SimulatedJob job =
          new SimulatedJob(
              "request-" + i,
              between(10, 120),
              weather == Weather.STORM && chance(0.1),
              min,
              chance(0.4) ? min : Math.max(min, 1 + random.nextInt(4)));
      plan.add(job);
      after(between(0, 20 * SECOND), () -> submit(job));
    }
    after(between(0, 5 * SECOND), this::strike);
    after(SECOND, this::sweep);
    after(FAULTS_END, this::calm);
    while (!over()) {
      Event event = events.poll();
      if (event == null) {
        throw new Broken("nothing happens any more");
      }
      time = event.time();
      if (time > FAULTS_END + PATIENCE) {
        throw new Broken("jobs have not ended: " + unfinished() + workers);
      }
      event.action().run();
    }
    settle();
    plan.forEach(promises::checkEnded);
    if (database.stores().jobs().list(Set.of(JobState.values()), 100).size() != plan.size()) {
      throw new Broken("a request became two jobs");
    }
  }

  /** Nobody trains for a term that is over. */
  private void settle() {
    // The last fault may have taken the coordinator away for 40 s.
    long until = Math.max(time, FAULTS_END + 45 * SECOND) + 30 * SECOND;
    while (time < until) {
      Event event = java.util.Objects.requireNonNull(events.poll());
      time = event.time();
      event.action().run();
    }
    for (SimulatedWorker worker : workers) {
      if (worker.alive() && !worker.holdsNothing()) {
        throw new Broken("a trainer is left: " + worker);
      }
    }
  }

  private boolean over() {
    if (time <= FAULTS_END) {
      return false;
    }
    while (!plan.isEmpty() && promises.ended(plan.get(plan.size() - 1 - ended))) {
      if (++ended == plan.size()) {
        return true;
      }
    }
    return false;
  }

  private List<String> unfinished() {
    List<String> list = new ArrayList<>();
    for (SimulatedJob job : plan) {
      Job stored = job.id == null ? null : database.stores().jobs().find(job.id).orElse(null);
      if (stored == null || !stored.state().ended()) {
        Scheduler up = scheduler;
        String why = up == null || stored == null ? "" : up.view(stored.id(), now()).getReason();
        list.add(
            job.requestId
                + " "
                + (stored == null
                    ? "not stored"
                    : stored.state()
                        + " term "
                        + stored.term()
                        + " "
                        + stored.lease()
                        + " "
                        + why));
      }
    }
    return list;
  }

  // ---- The coordinator

  private Now now() {
    return new Now(time + monotonicOrigin, time / MS + 1_700_000_000_000L + wallOffsetMs);
  }

  private void boot() {
    boot++;
    monotonicOrigin = between(-100 * SECOND, 100 * SECOND);
    Scheduler fresh = new Scheduler(database.stores(), POLICY, random.split());
    database.begin();
    fresh.start(now());
    try {
      database.commit();
    } catch (StoreException e) {
      database.rollback();
      int failedBoot = boot;
      after(
          SECOND,
          () -> {
            if (boot == failedBoot) {
              boot();
            }
          });
      return;
    }
    scheduler = fresh;
    suspendedUntil = 0;
    deliver(fresh.drainEffects());
    tick(boot);
  }

  private void tick(int inBoot) {
    after(
        200 * MS,
        () -> {
          if (inBoot == boot && scheduler != null) {
            command(
                (core, now) -> {
                  core.tick(now);
                  return "";
                },
                done -> {},
                failed -> {});
            tick(inBoot);
          }
        });
  }

  private void crashCoordinator() {
    scheduler = null;
    boot++;
    for (Command lost : group) {
      lost.failed().accept(new Unavailable());
    }
    group = new ArrayList<>();
    List<Stream> broken = new ArrayList<>(streams.values());
    streams.clear();
    broken.forEach(stream -> stream.cutAtWorker(between(1, 200 * MS)));
    int crashed = boot;
    after(
        chance(0.3) ? between(5 * SECOND, 40 * SECOND) : between(10 * MS, 3 * SECOND),
        () -> {
          if (boot == crashed) {
            boot();
          }
        });
  }

  /** Queues a command for the core's next group. */
  void command(
      BiFunction<Scheduler, Now, Object> body,
      Consumer<Object> done,
      Consumer<RuntimeException> failed) {
    if (scheduler == null) {
      failed.accept(new Unavailable());
      return;
    }
    group.add(new Command(body, done, failed));
    if (!groupScheduled) {
      groupScheduled = true;
      after(
          Math.max(between(1, 3 * MS), suspendedUntil - time),
          () -> {
            groupScheduled = false;
            runGroup();
          });
    }
  }

  private void runGroup() {
    Scheduler core = scheduler;
    if (core == null || group.isEmpty()) {
      return;
    }
    if (suspendedUntil > time) {
      groupScheduled = true;
      after(
          suspendedUntil - time,
          () -> {
            groupScheduled = false;
            runGroup();
          });
      return;
    }
    List<Command> commands = group;
    group = new ArrayList<>();
    Now now = now();
    List<Runnable> replies = new ArrayList<>();
    List<Effect> effects;
    try {
      database.begin();
      for (Command command : commands) {
        try {
          Object value = command.body().apply(core, now);
          replies.add(() -> command.done().accept(value));
        } catch (CoordinatorException e) {
          replies.add(() -> command.failed().accept(e));
        }
      }
      database.commit();
      effects = core.drainEffects();
    } catch (StoreException e) {
      database.rollback();
      core.reload(now);
      commands.forEach(command -> command.failed().accept(new Unavailable()));
      return;
    }
    if (faultyCoordinator() && chance(0.0005)) {
      // On disk, and nobody was told.
      group = new ArrayList<>(commands);
      crashCoordinator();
      return;
    }
    deliver(effects);
    replies.forEach(Runnable::run);
  }

  private boolean faultyCoordinator() {
    return time < FAULTS_END && weather != Weather.DRAINS_ONLY;
  }

  private void deliver(List<Effect> effects) {
    for (Effect effect : effects) {
      if (effect instanceof Effect.Send send) {
        Stream stream = streams.get(send.workerId());
        if (stream != null && stream.session == send.session()) {
          stream.toWorker(send.message());
        }
      } else if (effect instanceof Effect.CloseSession close) {
        Stream stream = streams.get(close.workerId());
        if (stream != null && stream.session == close.session()) {
          streams.remove(close.workerId());
          stream.cutAtWorker(between(1, 100 * MS));
        }
      }
    }
  }

  // ---- The network

  /** One session's stream: in order, until it breaks, which both ends notice in their own time. */
  final class Stream {
    final SimulatedWorker worker;
    final int incarnation;
    final String workerId;
    final long session;
    private final int toBoot;
    private boolean workerSees = true;
    private boolean carries = true;
    private long lastToWorker;
    private long lastToCoordinator;

    Stream(SimulatedWorker worker, String workerId, long session) {
      this.worker = worker;
      this.incarnation = worker.incarnation();
      this.workerId = workerId;
      this.session = session;
      this.toBoot = boot;
    }

    boolean open() {
      return workerSees;
    }

    /**
     * @param matters TCP loses nothing but at the end of a connection; the protocol bears the loss
     *     of most messages all the same, and of these not
     */
    private boolean lost(boolean matters) {
      if (!carries || worker.cutOff()) {
        return true;
      }
      boolean lost = faulty() && chance(0.003);
      if (lost && matters) {
        snap(chance(0.7));
      }
      return lost;
    }

    private long delay() {
      return faulty() && chance(0.01) ? between(MS, 3 * SECOND) : between(MS / 5, 20 * MS);
    }

    void toWorker(dev.baton.v1.CoordinatorMessage message) {
      int copies = faulty() && chance(0.005) ? 2 : 1;
      for (int i = 0; i < copies; i++) {
        // Copies and, now and then, latecomers break the order: worse than TCP ever is.
        long at = time + delay();
        if (!(faulty() && chance(0.01))) {
          at = Math.max(at, lastToWorker);
          lastToWorker = at;
        }
        if (!lost(
            message.hasOffer()
                || message.hasGroupReady()
                || message.hasWelcome()
                || message.hasOrder())) {
          worker.after(
              at - time,
              incarnation,
              () -> {
                if (workerSees) {
                  worker.receive(this, message);
                }
              });
        }
      }
    }

    void toCoordinator(BiFunction<Scheduler, Now, Object> body, boolean matters) {
      int copies = faulty() && chance(0.005) ? 2 : 1;
      for (int i = 0; i < copies; i++) {
        long at = time + delay();
        if (!(faulty() && chance(0.01))) {
          at = Math.max(at, lastToCoordinator);
          lastToCoordinator = at;
        }
        if (!lost(matters)) {
          Simulation.this.after(
              at - time,
              () -> {
                if (boot == toBoot && carries) {
                  command(body, done -> {}, this::refused);
                }
              });
        }
      }
    }

    void hello(BiFunction<Scheduler, Now, Object> body) {
      Simulation.this.after(
          delay(),
          () -> {
            if (boot != toBoot || scheduler == null) {
              cutAtWorker(between(1, 50 * MS));
              return;
            }
            Stream old = streams.get(workerId);
            if (old == null || old.session < session) {
              streams.put(workerId, this);
            }
            command(body, done -> {}, this::refused);
          });
    }

    private void refused(RuntimeException why) {
      if (streams.get(workerId) == this) {
        streams.remove(workerId);
        closedAtCoordinator();
      }
      cutAtWorker(between(1, 50 * MS));
    }

    /** The worker's end notices that the stream is gone. */
    void cutAtWorker(long in) {
      carries = false;
      worker.after(
          in,
          incarnation,
          () -> {
            if (workerSees) {
              workerSees = false;
              worker.streamBroke(this);
            }
          });
    }

    /** The coordinator's end notices, now. */
    private void closedAtCoordinator() {
      command(
          (core, now) -> {
            core.closeSession(workerId, session, now);
            return "";
          },
          done -> {},
          failed -> {
            // The loop tries again: an end of a stream is never forgotten.
            if (failed instanceof Unavailable && scheduler != null && boot == toBoot) {
              Simulation.this.after(100 * MS, this::closedAtCoordinator);
            }
          });
    }

    /** It breaks; perhaps the coordinator never hears of it. */
    void snap(boolean coordinatorHears) {
      carries = false;
      cutAtWorker(between(1, 2 * SECOND));
      if (coordinatorHears) {
        Simulation.this.after(
            between(1, 500 * MS),
            () -> {
              if (boot == toBoot && scheduler != null) {
                streams.remove(workerId, this);
                closedAtCoordinator();
              }
            });
      }
    }
  }

  @Nullable Stream streamOf(String workerId) {
    return streams.get(workerId);
  }

  boolean coordinatorUp() {
    return scheduler != null;
  }

  /** One try of a unary call: its request may be lost, late or repeated, its reply lost. */
  void unary(
      SimulatedWorker from,
      BiFunction<Scheduler, Now, Object> body,
      Consumer<Object> done,
      Consumer<RuntimeException> failed) {
    int incarnation = from.incarnation();
    int copies = faulty() && chance(0.02) ? 2 : 1;
    for (int i = 0; i < copies; i++) {
      if ((faulty() && chance(0.02)) || from.cutOff()) {
        continue;
      }
      long late = faulty() && chance(0.03) ? between(SECOND, 15 * SECOND) : 0;
      after(
          late + between(MS / 5, 20 * MS),
          () ->
              command(
                  body,
                  value -> reply(from, incarnation, () -> done.accept(value)),
                  why -> reply(from, incarnation, () -> failed.accept(why))));
    }
  }

  private void reply(SimulatedWorker to, int incarnation, Runnable action) {
    if ((faulty() && chance(0.02)) || to.cutOff()) {
      return;
    }
    to.after(between(MS / 5, 20 * MS), incarnation, action);
  }

  // ---- Clients

  private static JobSpec spec(long steps, int min, int max) {
    return TestJobs.regression(steps, max)
        .setReplicas(Replicas.newBuilder().setMin(min).setMax(max))
        .setCheckpoint(CheckpointPolicy.newBuilder().setKeep(2))
        .setRetries(
            Retries.newBuilder().setMax(1000).setBackoff(Duration.newBuilder().setSeconds(1)))
        .build();
  }

  private void submit(SimulatedJob job) {
    JobSpec spec = spec(job.steps, job.min, job.max);
    command(
        (core, now) -> core.submit(job.requestId, spec, now),
        id -> {
          if (faulty() && chance(0.2)) {
            // The reply was lost; the client repeats the request.
            after(SECOND, () -> submit(job));
            return;
          }
          if (job.id != null && !job.id.equals(id)) {
            throw new Broken(job.requestId + " became two jobs");
          }
          job.id = (String) id;
          submitted.put(job.id, job);
          if (job.cancels) {
            after(between(0, 60 * SECOND), () -> cancel(job));
          }
        },
        why -> {
          if (!(why instanceof Unavailable)) {
            throw new Broken(String.valueOf(why.getMessage()));
          }
          after(500 * MS, () -> submit(job));
        });
  }

  private void cancel(SimulatedJob job) {
    command(
        (core, now) -> {
          core.cancel(java.util.Objects.requireNonNull(job.id), now);
          return "";
        },
        done -> job.cancelled = true,
        why -> {
          if (why instanceof Unavailable) {
            after(500 * MS, () -> cancel(job));
          }
        });
  }

  private void client(BiFunction<Scheduler, Now, Object> body) {
    command(
        body,
        done -> {},
        why -> {
          if (why instanceof CoordinatorException e
              && e.kind() == CoordinatorException.Kind.FAILED_PRECONDITION) {
            return; // The job has ended, or no worker has this name.
          }
          if (why instanceof CoordinatorException e
              && e.kind() == CoordinatorException.Kind.NOT_FOUND) {
            return;
          }
          if (!(why instanceof Unavailable)) {
            throw new Broken(String.valueOf(why.getMessage()));
          }
        });
  }

  // ---- Faults

  private void strike() {
    if (time >= FAULTS_END) {
      return;
    }
    switch (weather) {
      case STORM -> strikeAnything();
      case COORDINATOR_ONLY -> strikeCoordinator();
      case DRAINS_ONLY -> drainSomebody();
    }
    after(
        weather == Weather.DRAINS_ONLY ? between(3 * SECOND, 12 * SECOND) : between(0, 5 * SECOND),
        this::strike);
  }

  private SimulatedWorker anyWorker() {
    return workers.get(random.nextInt(workers.size()));
  }

  private void strikeCoordinator() {
    switch (random.nextInt(6)) {
      case 0, 1 -> crashCoordinator();
      case 2 -> suspendedUntil = time + between(SECOND, 12 * SECOND);
      case 3 -> monotonicOrigin += between(0, 20 * SECOND);
      case 4 -> wallOffsetMs += between(-100_000, 100_000);
      default -> fillDisk();
    }
  }

  private void fillDisk() {
    database.full(true);
    after(between(100 * MS, 5 * SECOND), () -> database.full(false));
  }

  private void drainSomebody() {
    SimulatedWorker worker = anyWorker();
    if (chance(0.3)) {
      client(
          (core, now) -> {
            core.drainWorker(worker.name(), now);
            return "";
          });
    } else {
      worker.drain();
    }
  }

  private void strikeAnything() {
    SimulatedWorker worker = anyWorker();
    switch (random.nextInt(16)) {
      case 0, 1 -> worker.crash(between(500 * MS, 10 * SECOND));
      case 2, 3 -> worker.freeze(between(100 * MS, 12 * SECOND));
      case 4 -> worker.killTrainer(dev.baton.v1.AttemptOutcome.ATTEMPT_OUTCOME_KILLED);
      case 5 -> worker.killTrainer(dev.baton.v1.AttemptOutcome.ATTEMPT_OUTCOME_CRASHED);
      case 6 -> worker.killTrainer(dev.baton.v1.AttemptOutcome.ATTEMPT_OUTCOME_WORKER_ERROR);
      case 7 -> worker.cutOff(between(200 * MS, 15 * SECOND));
      case 8 -> {
        Stream stream = streams.get(worker.id());
        if (stream != null) {
          stream.snap(chance(0.7));
        }
      }
      case 9 -> drainSomebody();
      case 10 -> damage();
      case 11 -> pauseSomething();
      case 12, 13 -> part(worker, anyWorker(), between(300 * MS, 20 * SECOND));
      default -> strikeCoordinator();
    }
  }

  private record Cut(SimulatedWorker a, SimulatedWorker b, long until) {}

  private final List<Cut> cuts = new ArrayList<>();

  /** Two workers do not reach each other for a while, whatever the coordinator reaches. */
  private void part(SimulatedWorker a, SimulatedWorker b, long nanos) {
    cuts.add(new Cut(a, b, time + nanos));
  }

  /** Whether replicas on two workers reach each other. */
  boolean reaches(SimulatedWorker a, SimulatedWorker b) {
    if (a == b || a.host().equals(b.host())) {
      return true;
    }
    for (Cut cut : cuts) {
      if (cut.until() > time
          && ((cut.a() == a && cut.b() == b) || (cut.a() == b && cut.b() == a))) {
        return false;
      }
    }
    return !a.cutOff() && !b.cutOff();
  }

  private final Map<String, SimulatedGroup> groups = new HashMap<>();

  /** Where the trainers of a term meet. */
  SimulatedGroup group(Assignment assignment) {
    return groups.computeIfAbsent(
        assignment.getGroup(), g -> new SimulatedGroup(this, assignment.getWorldSize()));
  }

  private void pauseSomething() {
    SimulatedJob job = plan.get(random.nextInt(plan.size()));
    String id = job.id;
    if (id != null) {
      client(
          (core, now) -> {
            core.pause(id, now);
            return "";
          });
      if (chance(0.8)) {
        after(between(0, 10 * SECOND), () -> resume(id));
      }
    }
  }

  private void resume(String id) {
    client(
        (core, now) -> {
          core.resume(id, now);
          return "";
        });
  }

  /** Flips bits in the newest checkpoint of a job. */
  private void damage() {
    SimulatedJob job = plan.get(random.nextInt(plan.size()));
    if (job.id == null) {
      return;
    }
    List<CheckpointRecord> checkpoints = database.stores().jobs().checkpoints(job.id);
    if (!checkpoints.isEmpty()) {
      CheckpointRecord newest = checkpoints.get(checkpoints.size() - 1);
      objects.computeIfPresent(
          newest.objectKey(), (k, blob) -> new Blob(blob.step(), blob.state(), false));
    }
  }

  /** No more faults; whoever is away comes back. */
  private void calm() {
    database.full(false);
    after(
        SECOND,
        () -> {
          for (SimulatedJob job : plan) {
            String id = job.id;
            if (id != null) {
              keepResuming(id);
            }
          }
        });
  }

  /** The last pause may be under way still. */
  private void keepResuming(String id) {
    resume(id);
    after(20 * SECOND, () -> keepResuming(id));
  }

  /** Deletes objects as the housekeeper does; what a checkpoint needs must survive it. */
  private void sweep() {
    command(
        (core, now) -> {
          UploadStore uploads = database.stores().uploads();
          List<String> keys = new ArrayList<>();
          for (Upload upload : uploads.sweepable(now.epochMs() - 86_400_000, 100)) {
            keys.add(upload.objectKey());
            uploads.delete(upload.uploadId());
          }
          return keys;
        },
        keys -> ((List<?>) keys).forEach(objects::remove),
        failed -> {});
    after(3 * SECOND, this::sweep);
  }
}
