package dev.baton.worker.trainer;

import static org.assertj.core.api.Assertions.assertThat;

import dev.baton.v1.CheckpointCommitted;
import dev.baton.v1.CheckpointNow;
import dev.baton.v1.CollectiveBackend;
import dev.baton.v1.DaemonMessage;
import dev.baton.v1.Finished;
import dev.baton.v1.GroupStands;
import dev.baton.v1.JobSpec;
import dev.baton.v1.JoinGroup;
import dev.baton.v1.MetricPoint;
import dev.baton.v1.SnapshotWritten;
import dev.baton.v1.TrainerMessage;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;
import java.util.function.Predicate;
import org.jspecify.annotations.Nullable;

/**
 * Trainers of one job, with what their daemons and the coordinator do for them: groups in one term
 * after the other, and commits of what the newest term's rank 0 says.
 */
final class GangTrainers implements AutoCloseable {
  private static final long FAR = TimeUnit.HOURS.toNanos(1);

  /** Of a trainer; a hundred times what is needed. */
  private static final long WAIT_MILLIS = 120_000;

  /** To the next step for who is awaited. */
  private static final long NUDGE_MILLIS = 1_000;

  /** A trainer and all that it said. */
  final class Member implements AutoCloseable {
    private final ChildTrainer child;
    final String name;
    private final List<TrainerMessage> said = new ArrayList<>();
    private int read;

    Member(String name, boolean joins) throws IOException {
      this.name = name;
      this.child =
          new ChildTrainer(dir, name, GangTrainerMain.class, "-Xmx128m", "-XX:TieredStopAtLevel=1");
      child.send(m -> m.setRun(child.run(spec, "").toBuilder().setJoins(joins)));
      Thread reader = new Thread(this::listen, "trainer-" + name);
      reader.setDaemon(true);
      reader.start();
      assertThat(await(TrainerMessage::hasPrepared).getPrepared().getResumedStep()).isZero();
    }

    private void listen() {
      try {
        while (true) {
          hear(this, child.await(message -> true));
        }
      } catch (IOException | AssertionError e) {
        // It has ended.
      }
    }

    void send(Consumer<DaemonMessage.Builder> fill) throws IOException {
      child.send(fill);
    }

    /** The next message that is wanted, of those that were not awaited yet. */
    TrainerMessage await(Predicate<TrainerMessage> wanted) {
      return await(wanted, false, false);
    }

    /**
     * The same of what is said between two steps: a member that waits at the limit hears nothing,
     * and where the step that is left was made too early, there is another one.
     */
    private TrainerMessage awaitBetweenSteps(Predicate<TrainerMessage> wanted) {
      return await(wanted, false, true);
    }

    /** What it fails with. */
    String failure() {
      return await(TrainerMessage::hasFailed, true, false).getFailed().getMessage();
    }

    private TrainerMessage await(
        Predicate<TrainerMessage> wanted, boolean fails, boolean betweenSteps) {
      long begin = System.nanoTime();
      int nudges = 0;
      synchronized (GangTrainers.this) {
        while (true) {
          while (read < said.size()) {
            TrainerMessage message = said.get(read++);
            assertThat(message.hasFailed() && !fails).as("%s: %s", name, message).isFalse();
            if (wanted.test(message)) {
              return message;
            }
          }
          long waited = TimeUnit.NANOSECONDS.toMillis(System.nanoTime() - begin);
          if (waited >= WAIT_MILLIS) {
            throw new AssertionError(name + " does not say it: " + said + "\n" + log());
          }
          if (betweenSteps && waited >= (nudges + 1) * NUDGE_MILLIS) {
            nudges++;
            goOn(1);
          }
          try {
            GangTrainers.this.wait(NUDGE_MILLIS);
          } catch (InterruptedException e) {
            throw new IllegalStateException(e);
          }
        }
      }
    }

    String log() {
      try {
        return child.log();
      } catch (IOException e) {
        return e.toString();
      }
    }

    void kill() throws InterruptedException {
      child.kill();
    }

    void freeze() throws IOException, InterruptedException {
      child.freeze();
    }

    @Override
    public void close() throws IOException, InterruptedException {
      child.close();
    }
  }

  private final Path dir;
  private final JobSpec spec;
  private final List<Member> all = new ArrayList<>();
  private final Map<String, MetricPoint> committed = new LinkedHashMap<>();
  private List<Member> members = List.of();
  private long term;
  private long limit;

  /** The newest step that was committed. */
  private long committedStep;

  /** Points that came although a commit had taken them, but for those that may come twice. */
  private int repeated;

  /** The newest term's rank 0, whose snapshots are committed. */
  private @Nullable Member leader;

  GangTrainers(Path dir, JobSpec spec) {
    this.dir = dir;
    this.spec = spec;
    goOn(0);
  }

  /** Starts a trainer, which waits. */
  Member start(String name, boolean joins) throws IOException {
    Member member = new Member(name, joins);
    synchronized (this) {
      all.add(member);
    }
    return member;
  }

  private void hear(Member member, TrainerMessage message) {
    synchronized (this) {
      member.said.add(message);
      if (message.hasSnapshot() && member == leader) {
        commit(message.getSnapshot());
      }
      notifyAll();
    }
  }

  private void commit(SnapshotWritten snapshot) {
    put(snapshot.getPointsList());
    committedStep = snapshot.getStep();
    sendAll(
        m ->
            m.setCheckpointCommitted(CheckpointCommitted.newBuilder().setStep(snapshot.getStep())));
  }

  private void put(List<MetricPoint> points) {
    for (MetricPoint point : points) {
      MetricPoint before = committed.put(point.getSeries() + " " + point.getStep(), point);
      boolean mayRepeat =
          point.getStep() == committedStep && !point.getSeries().startsWith(PointLog.AFTER_STEP);
      repeated += before == null || mayRepeat ? 0 : 1;
    }
  }

  /** Points of the job, in no order, with those of the end. */
  synchronized Map<String, MetricPoint> points(Finished finished) {
    put(finished.getPointsList());
    return Map.copyOf(committed);
  }

  synchronized int repeated() {
    return repeated;
  }

  /** A term of these, in the ranks' order; the step that they go on from. */
  long term(List<Member> ranks, boolean abandon) throws IOException {
    announce(ranks, abandon);
    return form();
  }

  /** Names the group of a new term. */
  void announce(List<Member> ranks, boolean abandon) throws IOException {
    synchronized (this) {
      term++;
      members = List.copyOf(ranks);
      leader = null;
    }
    for (int rank = 0; rank < ranks.size(); rank++) {
      int number = rank;
      Member member = ranks.get(rank);
      member.send(
          m ->
              m.setJoinGroup(
                  JoinGroup.newBuilder()
                      .setGroup("job/" + term)
                      .setRank(number)
                      .setWorldSize(ranks.size())
                      .setAddress("127.0.0.1")
                      .setBackend(CollectiveBackend.COLLECTIVE_BACKEND_GLOO)
                      .setAbandon(abandon)));
      member.child.go(FAR);
    }
  }

  /** Awaits the members of the term and lets them form their group. */
  long form() {
    int port = 0;
    goOn(1);
    for (Member member : members) {
      TrainerMessage waiting =
          member.awaitBetweenSteps(
              m -> m.hasGroupWaiting() && m.getGroupWaiting().getGroup().equals("job/" + term));
      if (member == members.get(0)) {
        port = waiting.getGroupWaiting().getPort();
        assertThat(port > 0).isEqualTo(members.size() > 1);
      }
    }
    stand(port);
    long step = -1;
    for (Member member : members) {
      TrainerMessage formed = member.await(m -> m.hasGroupFormed() || m.hasGroupBroken());
      assertThat(formed.hasGroupFormed()).as("%s %s", member.name, formed).isTrue();
      assertThat(formed.getGroupFormed().getGroup()).isEqualTo("job/" + term);
      assertThat(step).isIn(-1L, formed.getGroupFormed().getStep());
      step = formed.getGroupFormed().getStep();
    }
    return step;
  }

  /** Tells all that all wait. */
  void stand(int port) {
    synchronized (this) {
      leader = members.get(0);
    }
    sendAll(
        m ->
            m.setGroupStands(
                GroupStands.newBuilder()
                    .setGroup("job/" + term)
                    .setStoreHost("127.0.0.1")
                    .setStorePort(port)));
  }

  private void sendAll(Consumer<DaemonMessage.Builder> fill) {
    for (Member member : members) {
      try {
        member.send(fill);
      } catch (IOException e) {
        // It is dead, and not missed yet.
      }
    }
  }

  /** Takes a checkpoint, which is committed; its step. */
  long checkpoint() throws IOException {
    Member first = members.get(0);
    first.send(m -> m.setCheckpointNow(CheckpointNow.getDefaultInstance()));
    goOn(1);
    return first.awaitBetweenSteps(TrainerMessage::hasSnapshot).getSnapshot().getStep();
  }

  /** Lets so many more steps be made, of all that there are. */
  synchronized void goOn(long steps) {
    limit += Math.min(steps, Long.MAX_VALUE - limit);
    try {
      GangTrainerMain.limit(dir, limit);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /** Lets all steps be made. */
  void goOnToTheEnd() {
    goOn(Long.MAX_VALUE);
  }

  /** The last step that may have been made. */
  synchronized long limit() {
    return limit;
  }

  Finished finished() {
    return members.get(0).await(TrainerMessage::hasFinished).getFinished();
  }

  @Override
  public void close() throws IOException, InterruptedException {
    for (Member member : all) {
      member.close();
    }
  }
}
