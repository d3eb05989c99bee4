package dev.baton.worker.daemon;

import dev.baton.v1.TrainerMessage;
import dev.baton.worker.cache.Trees;
import dev.baton.worker.lease.Loop;
import dev.baton.worker.process.TrainerCommand;
import dev.baton.worker.process.TrainerExit;
import dev.baton.worker.process.TrainerProcess;
import dev.baton.worker.process.TrainerSetting;
import java.io.IOException;
import java.nio.file.Path;
import java.util.HashSet;
import java.util.Set;
import java.util.concurrent.Executor;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Trainers: one waits, libtorch loaded, for whoever needs one next, since a JVM with libtorch takes
 * more than a second to start. It is of one setting (threads, GPU); asked for another, it makes
 * way. Runs on the loop.
 */
final class SpareTrainers {
  private static final Logger log = LoggerFactory.getLogger(SpareTrainers.class);

  private static final long FIRST_WAIT_NANOS = 1_000_000_000L;
  private static final long MAX_WAIT_NANOS = 60 * FIRST_WAIT_NANOS;

  /** A trainer on its way from spare to its job: passes on what it says to whoever has it. */
  private final class Seat implements TrainerProcess.Listener {
    private @Nullable TrainerProcess process;
    private TrainerProcess.@Nullable Listener owner;

    @Override
    public void onMessage(TrainerMessage message) {
      if (message.hasReady()) {
        ready(this, message);
      } else if (owner != null) {
        owner.onMessage(message);
      }
    }

    @Override
    public void onExit(TrainerExit exit) {
      exited(this, exit);
      if (owner != null) {
        owner.onExit(exit);
      }
    }
  }

  private final TrainerCommand command;
  private final Path dir;
  private final Loop loop;
  private final Executor io;
  private final Runnable onReplicas;
  private final Set<TrainerProcess> running = new HashSet<>();
  private TrainerSetting usual;
  private @Nullable Seat spare;
  private boolean stopped;
  private boolean resting;
  private int number;
  private long waitNanos = FIRST_WAIT_NANOS;
  private boolean waiting;
  private String libtorch = "";
  private boolean replicas;

  /**
   * @param onReplicas called once, when it turns out that {@link #replicas}
   */
  SpareTrainers(
      TrainerCommand command,
      TrainerSetting usual,
      Path dir,
      Loop loop,
      Executor io,
      Runnable onReplicas) {
    this.command = command;
    this.usual = usual;
    this.dir = dir;
    this.loop = loop;
    this.io = io;
    this.onReplicas = onReplicas;
  }

  /** libtorch's version, once a trainer has loaded it. */
  String libtorch() {
    return libtorch;
  }

  /** Whether libtorch can form groups, as far as a trainer has said. */
  boolean replicas() {
    return replicas;
  }

  /**
   * A trainer of this setting: the spare, or a new one. It listens to whatever is sent at once.
   *
   * @throws IOException where no process can be started
   */
  TrainerProcess acquire(TrainerSetting setting, TrainerProcess.Listener owner) throws IOException {
    usual = setting;
    Seat seat = spare;
    spare = null;
    if (seat != null && seat.process != null && seat.process.setting().equals(setting)) {
      seat.owner = owner;
      return seat.process;
    }
    if (seat != null && seat.process != null) {
      seat.process.kill();
    }
    return start(setting, owner).process();
  }

  /** Sees to it that a spare waits: of the setting that was used last. */
  void replenish() {
    if (spare != null || stopped || resting || waiting) {
      return;
    }
    try {
      spare = start(usual, null).seat();
    } catch (IOException e) {
      log.error("no trainer can be started: {}", e.getMessage());
      tryLater();
    }
  }

  /** Makes the spare one of this setting: a job that needs it may come. */
  void expect(TrainerSetting setting) {
    usual = setting;
    Seat seat = spare;
    if (seat != null && seat.process != null && !seat.process.setting().equals(setting)) {
      spare = null;
      seat.process.kill();
    }
    replenish();
  }

  /** Kills the spare; none waits until {@link #work}. */
  void rest() {
    resting = true;
    Seat seat = spare;
    spare = null;
    if (seat != null && seat.process != null) {
      seat.process.kill();
    }
  }

  /** A spare may wait again. */
  void work() {
    resting = false;
  }

  /** Kills every trainer; none is started any more. */
  void stop() {
    stopped = true;
    running.forEach(TrainerProcess::kill);
  }

  private record Started(Seat seat, TrainerProcess process) {}

  private Started start(TrainerSetting setting, TrainerProcess.@Nullable Listener owner)
      throws IOException {
    Seat seat = new Seat();
    seat.owner = owner;
    TrainerProcess process =
        TrainerProcess.start(command, setting, dir.resolve(Integer.toString(++number)), loop, seat);
    seat.process = process;
    running.add(process);
    return new Started(seat, process);
  }

  private void ready(Seat seat, TrainerMessage message) {
    libtorch = message.getReady().getLibtorch();
    if (message.getReady().getReplicas() && !replicas) {
      replicas = true;
      onReplicas.run();
    }
    waitNanos = FIRST_WAIT_NANOS;
    if (seat == spare && seat.process != null) {
      log.info(
          "a spare trainer waits: {} thread(s), {}, {} MiB resident",
          seat.process.setting().threads(),
          message.getReady().getKind(),
          seat.process.residentBytes().orElse(0L) >> 20);
    }
  }

  private void exited(Seat seat, TrainerExit exit) {
    TrainerProcess process = seat.process;
    if (process == null) {
      return;
    }
    running.remove(process);
    if (seat == spare && !stopped) {
      spare = null;
      log.error(
          "the spare trainer ended with code {}; it printed:\n{}", exit.code(), exit.logTail());
      tryLater();
    }
    if (seat.owner == null) {
      discard(process);
    }
  }

  /** Deletes what an ended trainer leaves. */
  void discard(TrainerProcess process) {
    var unused = process.exit().thenRunAsync(() -> Trees.deleteOrWarn(process.dir()), io);
  }

  private void tryLater() {
    if (stopped || waiting) {
      return;
    }
    waiting = true;
    loop.schedule(
        waitNanos,
        () -> {
          waiting = false;
          replenish();
        });
    waitNanos = Math.min(2 * waitNanos, MAX_WAIT_NANOS);
  }
}
