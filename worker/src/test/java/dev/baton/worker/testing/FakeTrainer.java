package dev.baton.worker.testing;

import dev.baton.v1.AttemptOutcome;
import dev.baton.v1.DaemonMessage;
import dev.baton.v1.Finished;
import dev.baton.v1.GroupStands;
import dev.baton.v1.JoinGroup;
import dev.baton.v1.MetricPoint;
import dev.baton.v1.Prepared;
import dev.baton.v1.Progress;
import dev.baton.v1.Ready;
import dev.baton.v1.ReplicaProgress;
import dev.baton.v1.Result;
import dev.baton.v1.Run;
import dev.baton.v1.SnapshotWritten;
import dev.baton.v1.StepProgress;
import dev.baton.v1.TrainerFailed;
import dev.baton.v1.TrainerGroupBroken;
import dev.baton.v1.TrainerGroupFormed;
import dev.baton.v1.TrainerGroupWaiting;
import dev.baton.v1.TrainerMessage;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.Channels;
import java.nio.channels.SocketChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * A process that speaks a trainer's protocol and trains nothing: its weights are a number that each
 * step changes. What it does stands in the job's name: {@code mode.steps.millis.at.every}, that is,
 * what happens at step {@code at}, of how many steps, how long a step takes, and after how many
 * steps it writes a snapshot.
 *
 * <p>Replicas of it make their steps each for itself. The port of the store is the step that they
 * agree on. Each leaves its pid in the file {@code rank-N} of its attempt's folder, and takes its
 * group for broken once a file {@code break} is there.
 */
public final class FakeTrainer {
  private static final long FACTOR = 6364136223846793005L;

  /** The job's name for a behaviour. */
  public static String job(String mode, long steps, long millis, long at, long every) {
    return mode + "." + steps + "." + millis + "." + at + "." + every;
  }

  /** The weights after some steps. */
  public static String weights(long steps) {
    long state = 1;
    for (long i = 1; i <= steps; i++) {
      state = state * FACTOR + i;
    }
    return Long.toHexString(state);
  }

  private final SocketChannel out;
  private final InputStream in;
  private final List<MetricPoint> points = new ArrayList<>();
  private final List<MetricPoint> uncommitted = new ArrayList<>();
  private @Nullable Run run;
  private long step;
  private long state = 1;

  // Guarded by this.
  private boolean go;
  private long deadlineNanos;
  private boolean snapshotWanted;
  private boolean stopWanted;
  private @Nullable JoinGroup join;
  private @Nullable GroupStands stands;
  private String group = "";
  private int rank;
  private long committed;

  private FakeTrainer(SocketChannel channel) {
    this.out = channel;
    this.in = Channels.newInputStream(channel);
  }

  public static void main(String[] args) throws Exception {
    SocketChannel channel = SocketChannel.open(StandardProtocolFamily.UNIX);
    channel.connect(UnixDomainSocketAddress.of(args[0]));
    System.out.println("threads " + System.getenv("OMP_NUM_THREADS"));
    FakeTrainer trainer = new FakeTrainer(channel);
    Thread reader = new Thread(trainer::listen);
    reader.setDaemon(true);
    reader.start();
    trainer.send(
        TrainerMessage.newBuilder()
            .setReady(
                Ready.newBuilder().setLibtorch("fake").setKind("fake kind").setReplicas(true)));
    trainer.train();
    Runtime.getRuntime().halt(0);
  }

  private void listen() {
    try {
      DaemonMessage message;
      while ((message = DaemonMessage.parseDelimitedFrom(in)) != null) {
        receive(message);
      }
    } catch (IOException e) {
      // The daemon is gone.
    }
    Runtime.getRuntime().halt(3);
  }

  private synchronized void receive(DaemonMessage message) throws IOException {
    switch (message.getMessageCase()) {
      case RUN -> {
        Run received = message.getRun();
        run = received;
        if (!received.getCheckpointFile().isEmpty()) {
          Path file = Path.of(received.getCheckpointFile());
          String[] saved = Files.readString(file).split(" ", -1);
          if (saved.length != 2) {
            send(
                TrainerMessage.newBuilder()
                    .setFailed(
                        TrainerFailed.newBuilder()
                            .setOutcome(AttemptOutcome.ATTEMPT_OUTCOME_WORKER_ERROR)
                            .setMessage(file + " lacks tensor 'weight' of this job's model")
                            .setUnusableCheckpoint(true)));
            Runtime.getRuntime().halt(0);
          }
          step = Long.parseLong(saved[0]);
          state = Long.parseLong(saved[1]);
        }
        send(
            TrainerMessage.newBuilder()
                .setPrepared(
                    Prepared.newBuilder()
                        .setResumedStep(step)
                        .setTotalSteps(steps(received))
                        .setKind("fake kind")));
      }
      case GO -> {
        go = true;
        deadlineNanos = message.getGo().getDeadlineNanos();
      }
      case DEADLINE -> deadlineNanos = message.getDeadline().getDeadlineNanos();
      case CHECKPOINT_NOW -> {
        snapshotWanted = true;
        stopWanted |= message.getCheckpointNow().getStop();
      }
      case JOIN_GROUP -> {
        join = message.getJoinGroup();
        snapshotWanted = false;
        stopWanted = false;
      }
      case GROUP_STANDS -> stands = message.getGroupStands();
      case CHECKPOINT_COMMITTED ->
          committed = Math.max(committed, message.getCheckpointCommitted().getStep());
      case SNAPSHOT_GIVEN_UP -> snapshotWanted = true;
      case HALT -> Runtime.getRuntime().halt(0);
      default -> {
        // Nothing that would change what it does.
      }
    }
    notifyAll();
  }

  private static String[] words(Run run) {
    return run.getSpec().getName().split("\\.", -1);
  }

  private static long steps(Run run) {
    return Long.parseLong(words(run)[1]);
  }

  private void train() throws Exception {
    synchronized (this) {
      while (!go) {
        wait();
      }
    }
    Run mine = run;
    if (mine == null) {
      throw new IllegalStateException("Go without Run");
    }
    String[] words = words(mine);
    long steps = steps(mine);
    long millis = Long.parseLong(words[2]);
    long at = Long.parseLong(words[3]);
    long every = Long.parseLong(words[4]);
    long first = step + 1;
    Path dir = Files.createDirectories(Path.of(mine.getAttemptDir()));
    while (step < steps) {
      if (joined(dir, mine.getJoins() && step == 0)) {
        first = step + 1;
      }
      if (stopped(dir)) {
        Thread.sleep(Long.MAX_VALUE);
      }
      Thread.sleep(millis);
      step++;
      state = state * FACTOR + step;
      MetricPoint point =
          MetricPoint.newBuilder().setSeries("train/loss").setStep(step).setValue(1.0).build();
      points.add(point);
      uncommitted.add(point);
      System.out.println("step " + step);
      send(
          TrainerMessage.newBuilder()
              .setProgress(
                  StepProgress.newBuilder()
                      .setFirstStep(first)
                      .setReplica(ReplicaProgress.newBuilder().setBytesSent(step))
                      .setProgress(Progress.newBuilder().setStep(step).setTotalSteps(steps))));
      if (step == at) {
        misbehave(words[0]);
      }
      if (every > 0 && step % every == 0 && step < steps && rank == 0) {
        snapshot(dir, false);
      }
    }
    while (rank != 0) {
      // Until it is halted.
      Thread.sleep(Long.MAX_VALUE);
    }
    Files.writeString(dir.resolve("model.txt"), step + " " + state);
    System.out.println("done");
    send(
        TrainerMessage.newBuilder()
            .setFinished(
                Finished.newBuilder()
                    .setStep(step)
                    .setResult(Result.newBuilder().setWeightsSha256(Long.toHexString(state)))
                    .addAllPoints(lastPoints())
                    .addArtifacts("model.txt")));
  }

  // Those that no snapshot has taken; in groups, those that no commit is known to have taken.
  private synchronized List<MetricPoint> lastPoints() {
    if (group.isEmpty()) {
      return List.copyOf(points);
    }
    return uncommitted.stream().filter(point -> point.getStep() > committed).toList();
  }

  // Comes to a new group, where there is one or the old one is broken; true if so.
  private boolean joined(Path dir, boolean withoutState) throws Exception {
    Path broken = dir.resolve("break");
    synchronized (this) {
      if (join == null && !Files.exists(broken)) {
        return false;
      }
      if (join == null) {
        send(
            TrainerMessage.newBuilder()
                .setGroupBroken(
                    TrainerGroupBroken.newBuilder()
                        .setGroup(group)
                        .setStep(step)
                        .setMessage("Connection closed by peer")));
      }
      while (stands == null || join != null) {
        if (join == null) {
          wait();
          continue;
        }
        Files.deleteIfExists(broken);
        JoinGroup wanted = join;
        join = null;
        stands = null;
        group = wanted.getGroup();
        rank = wanted.getRank();
        Files.writeString(
            dir.resolve("rank-" + rank), Long.toString(ProcessHandle.current().pid()));
        send(
            TrainerMessage.newBuilder()
                .setGroupWaiting(
                    TrainerGroupWaiting.newBuilder()
                        .setGroup(group)
                        .setStep(withoutState ? -1 : step)
                        .setPort(rank == 0 ? wanted.getFirstPort() : 0)));
      }
      while (step < stands.getStorePort()) {
        step++;
        state = state * FACTOR + step;
      }
      stands = null;
      uncommitted.removeIf(point -> point.getStep() <= committed);
      points.clear();
      points.addAll(uncommitted);
    }
    send(
        TrainerMessage.newBuilder()
            .setGroupFormed(
                TrainerGroupFormed.newBuilder()
                    .setGroup(group)
                    .setStep(step)
                    .setTotalSteps(run == null ? 0 : steps(run))
                    .setKind("fake kind")));
    return true;
  }

  // Waits out the deadline; true after the last snapshot.
  private boolean stopped(Path dir) throws Exception {
    boolean snapshot;
    boolean stop;
    synchronized (this) {
      while (System.nanoTime() - deadlineNanos >= 0 && !snapshotWanted) {
        wait(20);
      }
      snapshot = snapshotWanted;
      stop = stopWanted;
      snapshotWanted = false;
    }
    if (snapshot) {
      snapshot(dir, stop);
    }
    return stop;
  }

  private void snapshot(Path dir, boolean stopped) throws IOException {
    Path file = dir.resolve("snapshot-" + step + "-" + System.nanoTime());
    Files.writeString(file, step + " " + state);
    send(
        TrainerMessage.newBuilder()
            .setSnapshot(
                SnapshotWritten.newBuilder()
                    .setStep(step)
                    .setFile(file.toString())
                    .addAllPoints(stopped ? lastPoints() : points)
                    .setStopped(stopped)));
    points.clear();
  }

  private void misbehave(String mode) throws Exception {
    switch (mode) {
      case "finish" -> {}
      case "kill" -> signal("KILL");
      case "segv" -> signal("SEGV");
      case "hang" -> Thread.sleep(Long.MAX_VALUE);
      case "oom" -> {
        System.out.println("RuntimeError: CUDA out of memory. Tried to allocate 2.00 GiB");
        Runtime.getRuntime().halt(1);
      }
      case "user" -> {
        send(
            TrainerMessage.newBuilder()
                .setFailed(
                    TrainerFailed.newBuilder()
                        .setOutcome(AttemptOutcome.ATTEMPT_OUTCOME_USER_ERROR)
                        .setMessage("label 12 is beyond the 10 classes")
                        .setStep(step)));
        Runtime.getRuntime().halt(0);
      }
      default -> throw new IllegalArgumentException(mode);
    }
  }

  private static void signal(String name) throws Exception {
    new ProcessBuilder("kill", "-" + name, Long.toString(ProcessHandle.current().pid()))
        .start()
        .waitFor();
    Thread.sleep(Long.MAX_VALUE);
  }

  private synchronized void send(TrainerMessage.Builder message) {
    try {
      ByteArrayOutputStream bytes = new ByteArrayOutputStream();
      message.build().writeDelimitedTo(bytes);
      ByteBuffer buffer = ByteBuffer.wrap(bytes.toByteArray());
      while (buffer.hasRemaining()) {
        int unused = out.write(buffer);
      }
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }
}
