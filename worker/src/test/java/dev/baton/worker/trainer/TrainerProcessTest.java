package dev.baton.worker.trainer;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import dev.baton.v1.AttemptOutcome;
import dev.baton.v1.CheckpointCommitted;
import dev.baton.v1.CheckpointNow;
import dev.baton.v1.DaemonMessage;
import dev.baton.v1.Deadline;
import dev.baton.v1.Finished;
import dev.baton.v1.Go;
import dev.baton.v1.JobSpec;
import dev.baton.v1.Loss;
import dev.baton.v1.MetricPoint;
import dev.baton.v1.Run;
import dev.baton.v1.SnapshotWritten;
import dev.baton.v1.TrainerFailed;
import dev.baton.v1.TrainerMessage;
import dev.baton.worker.checkpoint.SafetensorsReader;
import dev.baton.worker.process.TrainerEnvironment;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;
import java.util.function.Predicate;
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
    try (Child child = new Child("whole")) {
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
    try (Child child = new Child("first")) {
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
    try (Child child = new Child("second")) {
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
  void theDaemonsDeathHaltsItAtOnce() throws Exception {
    try (Child child = new Child("a")) {
      child.prepare(job("j"), "");
      child.go(FAR);
      child.await(TrainerMessage::hasProgress);
      child.channel.close();
      assertThat(child.exitCode()).isEqualTo(4);
      assertThat(child.log()).contains("the daemon is gone").doesNotContain("finished");
    }
  }

  @Test
  void aWaitingOneHaltsToo() throws Exception {
    try (Child child = new Child("a")) {
      child.await(TrainerMessage::hasReady);
      child.channel.close();
      assertThat(child.exitCode()).isEqualTo(4);
    }
  }

  @Test
  void pastItsDeadlineItPausesUntilALaterOne() throws Exception {
    try (Child child = new Child("a")) {
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
    try (Child child = new Child("a")) {
      TrainerFailed failed = child.prepare(job("unfit"), "").getFailed();
      assertThat(failed.getOutcome()).isEqualTo(AttemptOutcome.ATTEMPT_OUTCOME_USER_ERROR);
      assertThat(failed.getMessage()).isEqualTo("model and data do not fit");
      assertThat(child.exitCode()).isZero();
      assertThat(child.log()).contains("error: model and data do not fit").doesNotContain("\tat ");
    }
    try (Child child = new Child("b")) {
      Path damaged = Files.writeString(dir.resolve("damaged"), "this is no checkpoint");
      TrainerFailed failed = child.prepare(job("j"), damaged.toString()).getFailed();
      assertThat(failed.getOutcome()).isEqualTo(AttemptOutcome.ATTEMPT_OUTCOME_WORKER_ERROR);
      assertThat(failed.getUnusableCheckpoint()).isTrue();
      assertThat(failed.getMessage()).contains(damaged + " is damaged");
      assertThat(child.exitCode()).isZero();
    }
    try (Child child = new Child("c")) {
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
    try (Child child = new Child("whole", TrainerMain.class)) {
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
    try (Child child = new Child("first", TrainerMain.class)) {
      child.prepare(spec.build(), "");
      child.go(FAR);
      // Before its first step is known of, so that it cannot have finished.
      child.send(m -> m.setCheckpointNow(CheckpointNow.newBuilder().setStop(true)));
      stop = child.await(TrainerMessage::hasSnapshot).getSnapshot();
      assertThat(child.exitCode()).isZero();
    }
    try (Child child = new Child("second", TrainerMain.class)) {
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

  /** A trainer and the socket to it. */
  private final class Child implements AutoCloseable {
    private final Path attemptDir;
    private final Path log;
    private final Process process;
    private final SocketChannel channel;
    private final ChannelInput in;

    Child(String name) throws IOException {
      this(name, FakeTrainerMain.class);
    }

    Child(String name, Class<?> main) throws IOException {
      attemptDir = Files.createDirectory(dir.resolve(name));
      log = dir.resolve(name + ".log");
      Path socket = dir.resolve(name + ".sock");
      try (ServerSocketChannel server = ServerSocketChannel.open(StandardProtocolFamily.UNIX)) {
        server.bind(UnixDomainSocketAddress.of(socket));
        List<String> line = new ArrayList<>();
        line.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
        line.addAll(TrainerEnvironment.javaOptions());
        line.add("-cp");
        line.add(
            System.getProperty("surefire.test.class.path", System.getProperty("java.class.path")));
        line.add(main.getName());
        line.add(socket.toString());
        ProcessBuilder builder =
            new ProcessBuilder(line).redirectErrorStream(true).redirectOutput(log.toFile());
        builder.environment().putAll(TrainerEnvironment.variables(1));
        process = builder.start();
        channel = server.accept();
      }
      in = new ChannelInput(channel);
    }

    /** Sends Run; Prepared or TrainerFailed. */
    TrainerMessage prepare(JobSpec spec, String checkpoint) throws IOException {
      assertThat(await(TrainerMessage::hasReady).getReady().getKind()).isNotEmpty();
      send(m -> m.setRun(run(spec, checkpoint)));
      return await(m -> m.hasPrepared() || m.hasFailed());
    }

    Run run(JobSpec spec, String checkpoint) {
      return Run.newBuilder()
          .setJobId("job")
          .setSpec(spec)
          .setSpecDigest("d")
          .setCheckpointFile(checkpoint)
          .setAttemptDir(attemptDir.toString())
          .setDecodedDir(attemptDir.toString())
          .setDevice("cpu")
          .build();
    }

    void go(long forNanos) throws IOException {
      send(m -> m.setGo(Go.newBuilder().setDeadlineNanos(System.nanoTime() + forNanos)));
    }

    void send(Consumer<DaemonMessage.Builder> fill) throws IOException {
      DaemonMessage.Builder message = DaemonMessage.newBuilder();
      fill.accept(message);
      ByteArrayOutputStream bytes = new ByteArrayOutputStream();
      message.build().writeDelimitedTo(bytes);
      ByteBuffer buffer = ByteBuffer.wrap(bytes.toByteArray());
      while (buffer.hasRemaining()) {
        channel.write(buffer);
      }
    }

    TrainerMessage await(Predicate<TrainerMessage> wanted) throws IOException {
      TrainerMessage message;
      while ((message = TrainerMessage.parseDelimitedFrom(in)) != null) {
        if (wanted.test(message)) {
          return message;
        }
      }
      throw new AssertionError("the trainer ended: " + log());
    }

    int exitCode() throws InterruptedException {
      assertThat(process.waitFor(20, TimeUnit.SECONDS)).isTrue();
      return process.exitValue();
    }

    String log() throws IOException {
      return Files.readString(log);
    }

    @Override
    public void close() throws IOException, InterruptedException {
      channel.close();
      process.destroyForcibly().waitFor();
    }
  }
}
