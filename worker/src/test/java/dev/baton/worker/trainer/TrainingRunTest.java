package dev.baton.worker.trainer;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.baton.v1.AttemptOutcome;
import dev.baton.v1.MetricPoint;
import dev.baton.v1.Progress;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import org.awaitility.Awaitility;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

final class TrainingRunTest {
  private static final FakeData DATA = new FakeData(8, 20, 3);

  @TempDir Path dir;
  private UndisturbedRun whole = new UndisturbedRun(List.of(), "");

  @BeforeEach
  void undisturbedRun() throws Exception {
    whole = UndisturbedRun.of(dir, DATA);
  }

  @Test
  void anUndisturbedRunMakesEachPointOnce() {
    assertThat(whole.points().stream().map(p -> p.getSeries() + " " + p.getStep()))
        .doesNotHaveDuplicates()
        .contains("train/loss 3", "train/loss 18", "train/data_wait 18")
        .contains("train/samples_per_second 18", "epoch/train_loss 8", "epoch/train_loss 16")
        .contains("epoch/train_loss 20", "epoch/train_accuracy 20", "epoch/seconds 20")
        .contains("eval/loss 8", "eval/accuracy 20")
        // Six log points of three series, three epochs of five.
        .hasSize(6 * 3 + 3 * 5);
  }

  @Test
  void stoppedAtAnyStepItResumesToTheSame() throws Exception {
    for (long at = 1; at < DATA.totalSteps(); at++) {
      long step = at;
      try (RecordedRun first = attempt(null, RecordedRun.Hook.checkpointAt(step, true))) {
        assertThat(first.train()).isEqualTo(TrainingRun.End.STOPPED);
        assertThat(first.snapshots).hasSize(1);
        assertThat(first.snapshots.get(0).stopped()).isTrue();
        assertThat(first.snapshots.get(0).state().step()).isEqualTo(step);
        assertResumesToTheSame(first, 0);
      }
    }
  }

  @Test
  void stoppedInAnyEvaluationItRepeatsItWhole() throws Exception {
    for (long epochEnd : new long[] {8, 16, 20}) {
      for (long at = 1; at <= DATA.evalBatches(); at++) {
        long evalBatch = at;
        try (RecordedRun first =
            attempt(
                null,
                (run, training, batch) -> {
                  if (!training && batch == evalBatch && run.run.step() == epochEnd) {
                    run.control.checkpointNow(true);
                  }
                })) {
          assertThat(first.train()).isEqualTo(TrainingRun.End.STOPPED);
          Snapshots.Written stop = first.snapshots.get(0);
          assertThat(stop.state().step()).isEqualTo(epochEnd);
          assertThat(stop.state().epochEndDue()).isTrue();
          assertThat(first.committed())
              .noneMatch(p -> p.getStep() == epochEnd && !p.getSeries().startsWith("train/"));
          assertResumesToTheSame(first, 0);
        }
      }
    }
  }

  @Test
  void killedAnywhereItResumesFromTheSnapshotBefore() throws Exception {
    // Steps after the snapshot, and their points, are lost with the attempt and made again.
    for (long at = 1; at < DATA.totalSteps(); at++) {
      long step = at;
      try (RecordedRun first = attempt(null, RecordedRun.Hook.checkpointAt(step, false))) {
        assertThat(first.train()).isEqualTo(TrainingRun.End.FINISHED);
        assertThat(first.snapshots).hasSize(1);
        assertThat(first.snapshots.get(0).stopped()).isFalse();
        assertResumesToTheSame(first, 0);
      }
    }
  }

  @Test
  void stoppedAfterEveryStepItEndsWithTheSame() throws Exception {
    List<MetricPoint> points = new ArrayList<>();
    Path checkpoint = null;
    for (int attempts = 1; attempts < 100; attempts++) {
      try (RecordedRun run =
          attempt(
              checkpoint,
              (self, training, batch) -> {
                if (training) {
                  self.control.checkpointNow(true);
                }
              })) {
        TrainingRun.End end = run.train();
        points.addAll(run.committed());
        if (end == TrainingRun.End.FINISHED) {
          points.addAll(run.run.points());
          whole.assertSame(run, points);
          return;
        }
        checkpoint = run.snapshots.get(0).file();
      }
    }
    throw new AssertionError("it never finished");
  }

  @Test
  void aStopBeforeTheFirstStepLeavesTheBeginning() throws Exception {
    try (RecordedRun run = attempt(null, RecordedRun.Hook.NOTHING)) {
      run.control.checkpointNow(true);
      assertThat(run.train()).isEqualTo(TrainingRun.End.STOPPED);
      assertThat(run.snapshots.get(0).state().step()).isZero();
      assertResumesToTheSame(run, 0);
    }
  }

  @Test
  void snapshotsComeAtTheIntervalAfterTheCommitAndOneAtATime() throws Exception {
    try (RecordedRun run =
        attempt(
            null,
            (self, training, batch) -> {
              if (!training) {
                return;
              }
              if (batch == 2 || batch == 4 || batch == 10) {
                self.nanos.addAndGet(RecordedRun.INTERVAL);
              }
              if (batch == 6) {
                self.control.committed(2, self.nanos.get());
              }
            })) {
      run.train();
      // After step 4 the one of step 2 is not committed yet; it is at step 6, and the interval
      // counts from there.
      assertThat(run.snapshots.stream().map(s -> s.state().step())).containsExactly(2L, 10L);
      assertResumesToTheSame(run, 1);
    }
  }

  @Test
  void pastTheDeadlineItMakesNoStepUntilALaterOneComes() throws Exception {
    long deadline = 500_000_000;
    try (RecordedRun run =
        attempt(
            null,
            (self, training, batch) -> {
              if (training && batch == 5) {
                self.nanos.set(deadline);
              }
            })) {
      run.control.go(deadline, run.nanos.get());
      CompletableFuture<TrainingRun.End> end =
          CompletableFuture.supplyAsync(
              () -> {
                try {
                  return run.train();
                } catch (InterruptedException e) {
                  throw new IllegalStateException(e);
                }
              });
      Awaitility.await()
          .atMost(Duration.ofSeconds(20))
          .until(() -> run.progress.stream().anyMatch(p -> p.getPhase().equals("paused")));
      assertThat(run.run.step()).isEqualTo(5);
      run.nanos.addAndGet(RecordedRun.INTERVAL / 2);
      run.control.deadline(deadline + 1);
      assertThat(end).isNotDone();
      assertThat(run.run.step()).isEqualTo(5);
      run.control.deadline(Long.MAX_VALUE);
      assertThat(end.get(20, TimeUnit.SECONDS)).isEqualTo(TrainingRun.End.FINISHED);
      assertThat(run.weights()).isEqualTo(whole.weights());
      // The pause is nobody's training time.
      assertThat(run.epochs.get(0).seconds()).isLessThan(1);
    }
  }

  @Test
  void aStopReachesARunThatIsPaused() throws Exception {
    try (RecordedRun run = attempt(null, RecordedRun.Hook.NOTHING)) {
      run.nanos.set(Long.MAX_VALUE / 2);
      TrainingControl control = run.control;
      control.go(0, 0);
      CompletableFuture<Void> stop =
          CompletableFuture.runAsync(
              () -> {
                Awaitility.await()
                    .atMost(Duration.ofSeconds(20))
                    .until(() -> !run.progress.isEmpty());
                control.checkpointNow(true);
              });
      assertThat(run.train()).isEqualTo(TrainingRun.End.STOPPED);
      stop.get(20, TimeUnit.SECONDS);
      assertThat(run.run.step()).isZero();
    }
  }

  @Test
  void progressComesAtTheFirstStepThenEachSecond() throws Exception {
    try (RecordedRun run =
        attempt(
            null,
            (self, training, batch) -> {
              if (training && batch % 5 == 0) {
                self.nanos.addAndGet(1_000_000_000);
              }
            })) {
      run.train();
      assertThat(run.progress.stream().map(Progress::getStep))
          .containsExactly(1L, 5L, 10L, 15L, 20L, 20L);
      Progress third = run.progress.get(2);
      assertThat(third.getTotalSteps()).isEqualTo(20);
      assertThat(third.getEpoch()).isEqualTo(2);
      // 5 batches of 7 but for the epoch's last, which has 5, in 1.008 s (3 batches evaluated).
      assertThat(third.getSamplesPerSecond()).isBetween(32.0, 33.0);
      assertThat(third.getEtaSeconds()).isBetween(2.0, 2.1);
      assertThat(third.hasLoss()).isTrue();
    }
  }

  @Test
  void aLossThatIsNotFiniteEndsTheRunAndNamesTheSteps() throws Exception {
    try (RecordedRun run =
        attempt(
            null,
            (self, training, batch) -> {
              if (training && batch == 4) {
                self.engine.addToLoss = Double.NaN;
              }
            })) {
      assertThatThrownBy(run::train)
          .isInstanceOfSatisfying(
              TrainingException.class,
              e -> assertThat(e.outcome()).isEqualTo(AttemptOutcome.ATTEMPT_OUTCOME_NAN_LOSS))
          .hasMessageContaining("from 4 to 6");
    }
  }

  @Test
  void aStateThatIsNotFiniteIsNeverWritten() throws Exception {
    try (RecordedRun run =
        attempt(
            null,
            (self, training, batch) -> {
              if (training && batch == 4) {
                self.engine.weights[2] = Float.NEGATIVE_INFINITY;
                self.control.checkpointNow(true);
              }
            })) {
      assertThatThrownBy(run::train)
          .isInstanceOf(TrainingException.class)
          .hasMessageContaining("after step 4 'net.weight' holds NaN or infinity");
      assertThat(run.snapshots).isEmpty();
    }
    try (Stream<Path> files = Files.list(dir)) {
      assertThat(files).isEmpty();
    }
  }

  @Test
  void aFolderThatCannotBeWrittenEndsTheRun() throws Exception {
    Path gone = dir.resolve("gone");
    try (RecordedRun run = new RecordedRun(gone, DATA, null, RecordedRun.Hook.NOTHING)) {
      run.control.checkpointNow(true);
      assertThatThrownBy(run::train)
          .isInstanceOfSatisfying(
              TrainingException.class,
              e -> assertThat(e.outcome()).isEqualTo(AttemptOutcome.ATTEMPT_OUTCOME_WORKER_ERROR))
          .hasMessageContaining("could not write checkpoint");
    }
  }

  private RecordedRun attempt(@Nullable Path checkpoint, RecordedRun.Hook hook)
      throws IOException, InterruptedException {
    return new RecordedRun(dir, DATA, checkpoint, hook);
  }

  /** Continues from a snapshot of a run, with the points that came up to it. */
  private void assertResumesToTheSame(RecordedRun first, int snapshot) throws Exception {
    List<MetricPoint> points = new ArrayList<>();
    first.snapshots.subList(0, snapshot + 1).forEach(s -> points.addAll(s.points()));
    try (RecordedRun second =
        attempt(first.snapshots.get(snapshot).file(), RecordedRun.Hook.NOTHING)) {
      assertThat(second.train()).isEqualTo(TrainingRun.End.FINISHED);
      points.addAll(second.run.points());
      whole.assertSame(second, points);
      assertThat(second.progress.get(second.progress.size() - 1).getStep())
          .isEqualTo(DATA.totalSteps());
    }
  }
}
