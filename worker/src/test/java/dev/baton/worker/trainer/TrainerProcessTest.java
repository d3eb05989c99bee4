package dev.baton.worker.trainer;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import dev.baton.v1.AttemptOutcome;
import dev.baton.v1.CheckpointCommitted;
import dev.baton.v1.CheckpointNow;
import dev.baton.v1.Deadline;
import dev.baton.v1.Finished;
import dev.baton.v1.JobSpec;
import dev.baton.v1.Loss;
import dev.baton.v1.MetricPoint;
import dev.baton.v1.SnapshotWritten;
import dev.baton.v1.TrainerFailed;
import dev.baton.v1.TrainerMessage;
import dev.baton.worker.checkpoint.SafetensorsReader;
import dev.baton.worker.testing.SmallDisk;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/** The trainer as a process of its own, spoken to as its daemon does. */
@Timeout(60)
final class TrainerProcessTest {
  private static final long FAR = TimeUnit.HOURS.toNanos(1);
  private static final long STEPS = 1000;

  @TempDir Path dir;

  @Test
  void aJobThatMovesEndsAsOneThatStays() throws Exception {
    Finished whole;
    List<MetricPoint> wholePoints;
    try (ChildTrainer child = child("whole")) {
      assertThat(child.prepare(job("j"), "").getPrepared().getTotalSteps()).isEqualTo(STEPS);
      child.go(FAR);
      whole = child.await(TrainerMessage::hasFinished).getFinished();
      wholePoints = whole.getPointsList();
      assertThat(child.exitCode()).isZero();
      assertThat(child.log())
          .contains("training 1000 steps on fake", "step 50/1000: loss ")
          .contains("epoch 1 (step 10): train loss", ", accuracy 0.", "; eval loss")
          .contains("accuracy of class dog: 0.", "finished after step 1000; weights_sha256 ");
    }
    assertThat(whole.getStep()).isEqualTo(STEPS);
    assertThat(whole.getResult().getMetricsMap())
        .containsOnlyKeys(
            "loss",
            "accuracy",
            "train_loss",
            "train_accuracy",
            "class_accuracy/cat",
            "class_accuracy/dog");
    assertThat(whole.getArtifactsList())
        .containsExactly("model.safetensors", "model.pth", "model.py")
        .allSatisfy(name -> assertThat(dir.resolve("whole").resolve(name)).isNotEmptyFile());

    List<MetricPoint> points = new ArrayList<>();
    String file;
    try (ChildTrainer child = child("first")) {
      child.prepare(job("j"), "");
      child.go(FAR);
      TrainerMessage first = child.await(TrainerMessage::hasProgress);
      assertThat(first.getProgress().getFirstStep()).isEqualTo(1);
      assertThat(first.getProgress().getProgress().getStep()).isEqualTo(1);
      child.send(m -> m.setCheckpointNow(CheckpointNow.getDefaultInstance()));
      SnapshotWritten early = child.await(TrainerMessage::hasSnapshot).getSnapshot();
      assertThat(early.getStopped()).isFalse();
      child.send(
          m -> m.setCheckpointCommitted(CheckpointCommitted.newBuilder().setStep(early.getStep())));
      child.send(m -> m.setCheckpointNow(CheckpointNow.newBuilder().setStop(true)));
      SnapshotWritten stop = child.await(TrainerMessage::hasSnapshot).getSnapshot();
      assertThat(stop.getStopped()).isTrue();
      assertThat(stop.getStep()).isBetween(early.getStep(), STEPS - 1);
      assertThat(child.exitCode()).isZero();
      points.addAll(early.getPointsList());
      points.addAll(stop.getPointsList());
      file = stop.getFile();
    }
    try (ChildTrainer child = child("second")) {
      assertThat(child.prepare(job("j"), file).getPrepared().getResumedStep()).isPositive();
      child.go(FAR);
      Finished finished = child.await(TrainerMessage::hasFinished).getFinished();
      points.addAll(finished.getPointsList());
      assertThat(finished.getResult()).isEqualTo(whole.getResult());
      assertThat(child.log()).contains("resumed from step ");
    }
    assertThat(points.stream().map(TrainerProcessTest::timeless).toList())
        .isEqualTo(wholePoints.stream().map(TrainerProcessTest::timeless).toList());
  }

  @Test
  void aCheckpointThatTheDiskHasNoRoomForIsTheWorkersFault() throws Exception {
    try (SmallDisk disk = SmallDisk.at(dir.resolve("disk"), 1);
        ChildTrainer child = new ChildTrainer(disk.dir(), "full", FakeTrainerMain.class)) {
      child.prepare(job("j"), "");
      disk.fill();
      child.go(FAR);
      child.send(m -> m.setCheckpointNow(CheckpointNow.getDefaultInstance()));
      TrainerFailed failed = child.await(TrainerMessage::hasFailed).getFailed();
      assertThat(failed.getOutcome()).isEqualTo(AttemptOutcome.ATTEMPT_OUTCOME_WORKER_ERROR);
      assertThat(failed.getMessage())
          .startsWith("no space left on this worker's disk for the checkpoint of step ")
          .contains(disk.dir() + "/full has 0 bytes free; make room there");
      assertThat(child.exitCode()).isZero();
    }
  }

  @Test
  void theDaemonsDeathHaltsItAtOnce() throws Exception {
    try (ChildTrainer child = child("a")) {
      child.prepare(job("j"), "");
      child.go(FAR);
      child.await(TrainerMessage::hasProgress);
      child.disconnect();
      assertThat(child.exitCode()).isEqualTo(4);
      assertThat(child.log()).contains("the daemon is gone").doesNotContain("finished");
    }
  }

  @Test
  void aWaitingOneHaltsToo() throws Exception {
    try (ChildTrainer child = child("a")) {
      child.await(TrainerMessage::hasReady);
      child.disconnect();
      assertThat(child.exitCode()).isEqualTo(4);
    }
  }

  @Test
  void pastItsDeadlineItPausesUntilALaterOne() throws Exception {
    try (ChildTrainer child = child("a")) {
      child.prepare(job("j"), "");
      child.go(TimeUnit.MILLISECONDS.toNanos(20));
      long paused =
          child
              .await(m -> m.getProgress().getProgress().getPhase().equals("paused"))
              .getProgress()
              .getProgress()
              .getStep();
      assertThat(paused).isLessThan(STEPS);
      child.send(
          m -> m.setDeadline(Deadline.newBuilder().setDeadlineNanos(System.nanoTime() + FAR)));
      assertThat(child.await(TrainerMessage::hasFinished).getFinished().getStep()).isEqualTo(STEPS);
    }
  }

  @Test
  void knownFailuresAreToldAndUnknownOnesEndTheProcess() throws Exception {
    try (ChildTrainer child = child("a")) {
      TrainerFailed failed = child.prepare(job("unfit"), "").getFailed();
      assertThat(failed.getOutcome()).isEqualTo(AttemptOutcome.ATTEMPT_OUTCOME_USER_ERROR);
      assertThat(failed.getMessage()).isEqualTo("model and data do not fit");
      assertThat(child.exitCode()).isZero();
      assertThat(child.log()).contains("error: model and data do not fit").doesNotContain("\tat ");
    }
    try (ChildTrainer child = child("b")) {
      Path damaged = Files.writeString(dir.resolve("damaged"), "this is no checkpoint");
      TrainerFailed failed = child.prepare(job("j"), damaged.toString()).getFailed();
      assertThat(failed.getOutcome()).isEqualTo(AttemptOutcome.ATTEMPT_OUTCOME_WORKER_ERROR);
      assertThat(failed.getUnusableCheckpoint()).isTrue();
      assertThat(failed.getMessage()).contains(damaged + " is damaged");
      assertThat(child.exitCode()).isZero();
    }
    try (ChildTrainer child = child("c")) {
      child.await(TrainerMessage::hasReady);
      child.send(m -> m.setRun(child.run(job("defect"), "")));
      assertThat(child.exitCode()).isEqualTo(1);
      assertThat(child.log()).contains("a defect in opening the data", "\tat ");
    }
  }

  @Test
  void theRealOneTrainsTheLinearRegressionAndMoves() throws Exception {
    JobSpec.Builder spec = job("linreg").toBuilder();
    spec.getModelBuilder().getBuiltinBuilder().setName("linear");
    spec.getDataBuilder().getTrainBuilder().setShuffle(true);
    spec.getDataBuilder()
        .getTrainBuilder()
        .getSyntheticBuilder()
        .getRegressionBuilder()
        .setSamples(20_000);
    spec.getTrainingBuilder().setBatchSize(100).setSeed(3).setLoss(Loss.LOSS_MSE);
    spec.getTrainingBuilder().getOptimizerBuilder().getSgdBuilder().setLr(0.01);
    Finished whole;
    try (ChildTrainer child = realChild("whole")) {
      assertThat(child.await(TrainerMessage::hasReady).getReady().getReplicas()).isTrue();
      child.send(m -> m.setRun(child.run(spec.build(), "")));
      child.go(FAR);
      whole = child.await(TrainerMessage::hasFinished).getFinished();
      assertThat(child.exitCode()).isZero();
    }
    try (SafetensorsReader model =
        SafetensorsReader.open(dir.resolve("whole").resolve("model.safetensors"))) {
      ByteBuffer values = ByteBuffer.allocate(12).order(ByteOrder.LITTLE_ENDIAN);
      for (String name : model.tensors().keySet()) {
        model.read(name, values);
      }
      assertThat(values.getFloat(0)).isCloseTo(2, within(0.1f));
      assertThat(values.getFloat(4)).isCloseTo(-3, within(0.1f));
      assertThat(values.getFloat(8)).isCloseTo(10, within(0.1f));
    }
    SnapshotWritten stop;
    try (ChildTrainer child = realChild("first")) {
      child.prepare(spec.build(), "");
      child.go(FAR);
      // Before its first step is known of, so that it cannot have finished.
      child.send(m -> m.setCheckpointNow(CheckpointNow.newBuilder().setStop(true)));
      stop = child.await(TrainerMessage::hasSnapshot).getSnapshot();
      assertThat(child.exitCode()).isZero();
    }
    try (ChildTrainer child = realChild("second")) {
      TrainerMessage prepared = child.prepare(spec.build(), stop.getFile());
      assertThat(prepared.getPrepared().getResumedStep()).isEqualTo(stop.getStep());
      child.go(FAR);
      assertThat(child.await(TrainerMessage::hasFinished).getFinished().getResult())
          .isEqualTo(whole.getResult());
    }
  }

  private static JobSpec job(String name) {
    JobSpec.Builder spec = JobSpec.newBuilder().setName(name);
    spec.getTrainingBuilder().setMaxSteps(STEPS).setLogEvery(50);
    spec.getReplicasBuilder().setShards(1);
    spec.getResourcesBuilder().setCpus(1);
    spec.getCheckpointBuilder().getIntervalBuilder().setSeconds(3600);
    return spec.build();
  }

  private static MetricPoint timeless(MetricPoint point) {
    return switch (point.getSeries()) {
      case "train/samples_per_second", "train/data_wait", "epoch/seconds" ->
          point.toBuilder().setValue(0).setTimeMs(0).build();
      default -> point.toBuilder().setTimeMs(0).build();
    };
  }

  private ChildTrainer child(String name) throws IOException {
    return new ChildTrainer(dir, name, FakeTrainerMain.class);
  }

  private ChildTrainer realChild(String name) throws IOException {
    return new ChildTrainer(dir, name, TrainerMain.class);
  }
}
