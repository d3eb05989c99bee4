package dev.baton.worker.trainer;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.baton.v1.MetricPoint;
import dev.baton.v1.ReplicaProgress;
import dev.baton.v1.StepProgress;
import dev.baton.worker.checkpoint.RunState;
import dev.baton.worker.testing.Eventually;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Objects;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicReference;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/** A run that is a member of groups, as one of its replicas sees it. */
@Timeout(60)
final class GroupRunTest {
  private static final FakeData DATA = new FakeData(8, 20, 3);

  @TempDir Path dir;
  private UndisturbedRun whole = new UndisturbedRun(List.of(), "");

  @BeforeEach
  void undisturbedRun() throws Exception {
    whole = UndisturbedRun.of(dir, DATA);
  }

  private RecordedRun member(RecordedRun.Hook hook) throws Exception {
    return RecordedRun.inGroups(dir, DATA, true, hook);
  }

  @Test
  void aGroupOfOneIsOneReplica() throws Exception {
    try (RecordedRun run = member(RecordedRun.Hook.NOTHING)) {
      run.join(1, 0, 1);
      assertThat(run.train()).isEqualTo(TrainingRun.End.FINISHED);
      assertThat(run.groups).containsExactly("g1 waits at 0, port 0", "g1 formed at 0");
      whole.assertSame(run, run.run.points());
    }
  }

  @Test
  void brokenInAnyStepItGoesOnFromMemory() throws Exception {
    for (long at = 1; at <= DATA.totalSteps(); at++) {
      long step = at;
      try (RecordedRun run = member(RecordedRun.Hook.NOTHING)) {
        int[] broken = {0};
        run.engine.breaks =
            (training, batch) -> training && batch.step() == step && broken[0]++ < 2;
        run.onBroken = group -> run.join(broken[0] + 1, 0, 3 - broken[0]);
        run.join(1, 0, 3);
        assertThat(run.train()).isEqualTo(TrainingRun.End.FINISHED);
        assertThat(run.groups)
            .containsExactly(
                "g1 waits at 0, port " + FakeEngine.PORT,
                "g1 formed at 0",
                "g1 broken at %d: a peer is lost".formatted(step - 1),
                "g2 waits at %d, port %d".formatted(step - 1, FakeEngine.PORT),
                "g2 formed at " + (step - 1),
                "g2 broken at %d: a peer is lost".formatted(step - 1),
                "g3 waits at %d, port 0".formatted(step - 1),
                "g3 formed at " + (step - 1));
        whole.assertSame(run, run.run.points());
        // Each term's attempt has a first step of its own.
        assertThat(run.reports.stream().map(StepProgress::getFirstStep).distinct())
            .containsAnyOf(1L, step)
            .isSubsetOf(1L, step);
      }
    }
  }

  @Test
  void brokenInAnEvaluationItRepeatsItWhole() throws Exception {
    for (long epochEnd : new long[] {8, 16, 20}) {
      for (long at = 1; at <= DATA.evalBatches(); at++) {
        long evalBatch = at;
        try (RecordedRun run = member(RecordedRun.Hook.NOTHING)) {
          boolean[] broken = {false};
          run.engine.breaks =
              (training, batch) -> {
                boolean breaks =
                    !training
                        && batch.step() == evalBatch
                        && run.run.step() == epochEnd
                        && !broken[0];
                broken[0] |= breaks;
                return breaks;
              };
          run.onBroken = group -> run.join(2, 0, 1);
          run.join(1, 0, 2);
          assertThat(run.train()).isEqualTo(TrainingRun.End.FINISHED);
          assertThat(run.groups).contains("g2 formed at " + epochEnd);
          assertThat(run.epochs).hasSize(3);
          whole.assertSame(run, run.run.points());
        }
      }
    }
  }

  @Test
  void brokenWhileItFormsItAwaitsTheNext() throws Exception {
    try (RecordedRun run = member(RecordedRun.Hook.NOTHING)) {
      run.engine.joining =
          (membership, mine) -> {
            if (membership.size() == 3) {
              throw new GroupBrokenException("rank 2 does not come", null);
            }
            return mine;
          };
      run.onBroken = group -> run.join(2, 1, 2);
      run.onWaiting =
          group -> {
            run.stand(group);
            if (group.getGroup().equals("g2")) {
              // Only for this to end: rank 1 would wait with its state.
              run.join(3, 0, 1);
            }
          };
      run.join(1, 0, 3);
      assertThat(run.train()).isEqualTo(TrainingRun.End.FINISHED);
      assertThat(run.groups)
          .startsWith(
              "g1 waits at 0, port " + FakeEngine.PORT,
              "g1 broken at 0: rank 2 does not come",
              "g2 waits at 0, port 0",
              // The newest counts, and nobody is told of what it is followed by.
              "g3 waits at 0, port 0",
              "g3 formed at 0");
      whole.assertSame(run, run.run.points());
    }
  }

  @Test
  void rankZeroGivesUpAGroupThatIsFollowedByAnotherBeforeItStands() throws Exception {
    try (RecordedRun run = member(RecordedRun.Hook.NOTHING)) {
      run.onWaiting =
          group -> {
            if (group.getGroup().equals("g1")) {
              run.join(2, 0, 2);
            } else {
              run.stand(group);
            }
          };
      run.join(1, 0, 3);
      assertThat(run.train()).isEqualTo(TrainingRun.End.FINISHED);
      assertThat(run.groups)
          .containsExactly(
              "g1 waits at 0, port " + FakeEngine.PORT,
              "g2 waits at 0, port " + FakeEngine.PORT,
              "g2 formed at 0");
    }
  }

  @Test
  void aNewerGroupIsJoinedAtTheNextBoundary() throws Exception {
    try (RecordedRun run =
        member(
            (self, training, batch) -> {
              assertThat(self.engine.inGroup).isTrue();
              if (training && batch == 5) {
                self.control.checkpointNow(true);
                // What was asked for before belongs to the term before.
                self.join(2, 0, 2);
                assertThat(self.engine.inGroup).as("the step is ended first").isTrue();
              }
              if (!training && batch == 2 && self.run.step() == 16) {
                self.join(3, 0, 1);
              }
            })) {
      run.join(1, 0, 1);
      assertThat(run.train()).isEqualTo(TrainingRun.End.FINISHED);
      assertThat(run.groups).contains("g2 formed at 5", "g3 formed at 16").hasSize(6);
      assertThat(run.snapshots).isEmpty();
      whole.assertSame(run, run.run.points());
    }
  }

  @Test
  void aBreakIsNotToldWhereANewerGroupIsKnown() throws Exception {
    try (RecordedRun run = member(RecordedRun.Hook.NOTHING)) {
      boolean[] abandoned = {false};
      run.control.onAbandon(() -> abandoned[0] = true);
      run.engine.breaks =
          (training, batch) -> {
            if (batch.step() != 4 || abandoned[0]) {
              return false;
            }
            run.control.joinGroup(RecordedRun.group(2, 0, 1).setAbandon(true).build());
            return abandoned[0];
          };
      run.join(1, 0, 2);
      assertThat(run.train()).isEqualTo(TrainingRun.End.FINISHED);
      assertThat(run.groups)
          .containsExactly(
              "g1 waits at 0, port " + FakeEngine.PORT,
              "g1 formed at 0",
              "g2 waits at 3, port 0",
              "g2 formed at 3");
      whole.assertSame(run, run.run.points());
    }
  }

  @Test
  void pastTheDeadlineItJoinsAndStillMakesNoStep() throws Exception {
    try (RecordedRun run =
        member(
            (self, training, batch) -> {
              if (training && batch == 3) {
                self.nanos.set(1_000_000_000);
              }
            })) {
      run.control.go(1_000_000_000, run.nanos.get());
      run.join(1, 0, 2);
      CompletableFuture<TrainingRun.End> end = training(run);
      Eventually.await("a pause", () -> phases(run).contains("paused"));
      run.join(2, 0, 1);
      Eventually.await("the group", () -> run.groups.contains("g2 formed at 3"));
      Eventually.await("another pause", () -> phases(run).lastIndexOf("paused") > 1);
      assertThat(run.run.step()).isEqualTo(3);
      run.control.deadline(Long.MAX_VALUE);
      assertThat(end.get(20, TimeUnit.SECONDS)).isEqualTo(TrainingRun.End.FINISHED);
      whole.assertSame(run, run.run.points());
    }
  }

  private static List<String> phases(RecordedRun run) {
    return run.progress.stream().map(each -> each.getPhase()).toList();
  }

  private static CompletableFuture<TrainingRun.End> training(RecordedRun run) {
    return CompletableFuture.supplyAsync(
        () -> {
          try {
            return run.train();
          } catch (InterruptedException e) {
            throw new IllegalStateException(e);
          }
        });
  }

  /** A snapshot after every other step, each of which is committed or lost with its group. */
  @Test
  void everyPointIsCommittedOnceWhateverIsLost() throws Exception {
    for (int lostEvery = 1; lostEvery <= 5; lostEvery++) {
      int every = lostEvery;
      List<MetricPoint> committed = new ArrayList<>();
      Set<Long> decided = new HashSet<>();
      try (RecordedRun run =
          member(
              (self, training, batch) -> {
                if (training && batch % 2 == 0) {
                  self.control.checkpointNow(false);
                }
              })) {
        run.engine.breaks =
            (training, batch) -> {
              long before = batch.step() - 1;
              if (!training || before < 2 || before % 2 == 1 || !decided.add(before)) {
                return false;
              }
              Snapshots.Written snapshot = awaitSnapshot(run, before);
              boolean lost = before / 2 % every == 0;
              if (!lost) {
                committed.addAll(snapshot.points());
                run.control.committed(before, run.nanos.get());
              }
              return lost;
            };
        run.onBroken = group -> run.join(decided.size() + 1, 0, 2);
        run.join(1, 0, 2);
        assertThat(run.train()).isEqualTo(TrainingRun.End.FINISHED);
        assertThat(decided).hasSize(9);
        assertThat(run.groups.stream().filter(told -> told.contains("broken"))).hasSize(9 / every);
        // The last snapshot may be lost: the end takes what it had, and what came after it.
        committed.addAll(run.run.points());
        whole.assertSame(run, committed);
      }
    }
  }

  private static Snapshots.Written awaitSnapshot(RecordedRun run, long step) {
    AtomicReference<Snapshots.Written> found = new AtomicReference<>();
    Eventually.await(
        "the snapshot of step " + step,
        () -> {
          run.snapshots.stream().filter(s -> s.state().step() == step).forEach(found::set);
          return found.get() != null;
        });
    return Objects.requireNonNull(found.get());
  }

  /** It may have to be committed in the next term, where nothing is known of the one before. */
  @Test
  void theLastSnapshotHasEveryPointThatNoCommitIsKnownToHaveTaken() throws Exception {
    try (RecordedRun run =
        member(
            (self, training, batch) -> {
              if (training && (batch == 4 || batch == 7)) {
                self.control.checkpointNow(batch == 7);
              }
            })) {
      run.join(1, 0, 1);
      assertThat(run.train()).isEqualTo(TrainingRun.End.STOPPED);
      assertThat(awaitSnapshot(run, 4).points()).isNotEmpty();
      assertThat(UndisturbedRun.timeless(awaitSnapshot(run, 7).points()))
          .isEqualTo(
              UndisturbedRun.timeless(
                  whole.points().stream().filter(point -> point.getStep() <= 7).toList()));
    }
  }

  /** The epoch's end may be in the commit or not: what is in doubt comes again, the same. */
  @Test
  void pointsThatMayHaveBeenCommittedComeAgain() throws Exception {
    try (RecordedRun run =
        member(
            (self, training, batch) -> {
              if (training && batch == 9) {
                awaitSnapshot(self, 8);
                self.control.committed(8, self.nanos.get());
                self.join(2, 0, 2);
              }
              if (training && batch == 10) {
                self.control.checkpointNow(false);
              }
            })) {
      run.onEpochEnd =
          summary -> {
            if (summary.step() == 8) {
              run.control.checkpointNow(false);
            }
          };
      run.join(1, 0, 1);
      run.train();
      List<MetricPoint> first = run.snapshots.get(0).points();
      List<MetricPoint> second = run.snapshots.get(1).points();
      assertThat(first.stream().filter(p -> p.getStep() == 8)).hasSize(5);
      assertThat(second.stream().filter(first::contains))
          .isEqualTo(first.stream().filter(p -> p.getStep() == 8).toList());
    }
  }

  /** What was being written when its group ended is the term before's. */
  @Test
  void aSnapshotOfTheGroupBeforeIsNotTold() throws Exception {
    CountDownLatch joined = new CountDownLatch(1);
    List<Long> told = new ArrayList<>();
    FakeEngine engine = new FakeEngine((training, batch, self) -> {});
    try (Snapshots snapshots =
        new Snapshots(
            dir,
            engine.layout(),
            written -> {
              told.add(written.state().step());
              try {
                joined.await();
              } catch (InterruptedException e) {
                throw new IllegalStateException(e);
              }
            },
            System::nanoTime)) {
      snapshots.take(engine, state(1), List.of(), false);
      Eventually.await("the first", () -> told.size() == 1);
      snapshots.take(engine, state(2), List.of(), false);
      CompletableFuture<Void> forgotten = CompletableFuture.runAsync(snapshots::forget);
      joined.countDown();
      forgotten.get(20, TimeUnit.SECONDS);
      snapshots.drain();
      snapshots.take(engine, state(3), List.of(), false);
      snapshots.drain();
      assertThat(told).startsWith(1L).endsWith(3L);
      try (Stream<Path> files = Files.list(dir)) {
        assertThat(files).hasSize(told.size());
      }
    }
  }

  private static RunState state(long step) {
    return new RunState(
        "d",
        FakeEngine.KIND,
        1,
        1,
        step,
        1,
        7,
        false,
        Engine.Totals.ZERO,
        0,
        0,
        Engine.Totals.ZERO,
        0);
  }

  /** Rank 1 to the end, then rank 0: it leaves the points that no commit had taken. */
  @Test
  void rankOneWaitsAtTheEndAndThenEndsTheJob() throws Exception {
    try (RecordedRun run =
        member(
            (self, training, batch) -> {
              if (training && batch == 9) {
                self.control.checkpointNow(true);
              }
              if (training && batch == 10) {
                self.control.committed(8, self.nanos.get());
              }
            })) {
      run.join(1, 1, 2);
      CompletableFuture<TrainingRun.End> end = training(run);
      Eventually.await("the end", () -> run.epochs.size() == 3);
      Thread.sleep(50);
      assertThat(end).isNotDone();
      assertThat(run.snapshots).as("only rank 0 takes any").isEmpty();
      run.join(2, 0, 1);
      assertThat(end.get(20, TimeUnit.SECONDS)).isEqualTo(TrainingRun.End.FINISHED);
      whole.assertSame(
          run,
          Stream.concat(
                  whole.points().stream().filter(p -> p.getStep() < 8), run.run.points().stream())
              .toList());
      assertThat(run.run.lastEpoch().step()).isEqualTo(20);
    }
  }

  /** It takes over the state, and all that the other's run carried. */
  @Test
  void aJoinerGoesOnWhereTheOtherIs() throws Exception {
    for (long at = 1; at <= DATA.totalSteps(); at++) {
      long step = at;
      AtomicReference<Engine.Standing> given = new AtomicReference<>();
      try (RecordedRun first =
          member(
              (self, training, batch) -> {
                if (training && batch == step) {
                  self.join(2, 1, 2);
                }
              })) {
        first.engine.joining =
            (membership, mine) -> {
              if (membership.size() == 2) {
                given.set(mine);
                throw new IllegalStateException("enough");
              }
              return mine;
            };
        first.join(1, 0, 1);
        assertThatThrownBy(first::train).hasMessage("enough");
        try (RecordedRun joiner =
            RecordedRun.inGroups(dir, DATA, false, RecordedRun.Hook.NOTHING)) {
          joiner.engine.joining =
              (membership, mine) -> {
                assertThat(mine.position()).isNegative();
                joiner.engine.copyFrom(first.engine);
                return Objects.requireNonNull(given.get());
              };
          joiner.join(2, 0, 2);
          assertThat(joiner.train()).isEqualTo(TrainingRun.End.FINISHED);
          assertThat(joiner.groups)
              .containsExactly("g2 waits at -1, port " + FakeEngine.PORT, "g2 formed at " + step);
          whole.assertSame(joiner, joiner.run.points());
        }
      }
    }
  }

  @Test
  void aStateThatArrivedInPartIsNone() throws Exception {
    try (RecordedRun run = member(RecordedRun.Hook.NOTHING)) {
      run.engine.joining =
          (membership, mine) -> {
            if (membership.size() == 2) {
              throw new GroupBrokenException("lost on the way", false, null);
            }
            assertThat(mine.position()).isNegative();
            throw new IllegalStateException("enough");
          };
      run.onBroken = group -> run.join(2, 0, 1);
      run.join(1, 1, 2);
      assertThatThrownBy(run::train).hasMessage("enough");
      assertThat(run.groups).contains("g1 broken at -1: lost on the way", "g2 waits at -1, port 0");
    }
  }

  @Test
  void eachRankReportsItsOwnPart() throws Exception {
    try (RecordedRun run =
        member(
            (self, training, batch) -> {
              if (training && batch == 4) {
                self.nanos.addAndGet(2_000_000_000);
              }
            })) {
      run.join(1, 0, 2);
      run.train();
      ReplicaProgress replica = run.reports.get(1).getReplica();
      assertThat(run.reports.get(1).getProgress().getStep()).isEqualTo(4);
      assertThat(replica.getBytesSent()).isEqualTo(28);
      // Three batches of 7 since the first report.
      assertThat(replica.getSamplesPerSecond()).isBetween(10.4, 10.5);
      assertThat(replica.getAllReduce()).isPositive().isLessThan(1e-6);
    }
  }
}
