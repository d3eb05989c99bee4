package dev.baton.worker.trainer;

import static org.assertj.core.api.Assertions.assertThat;

import dev.baton.v1.Finished;
import dev.baton.v1.JobSpec;
import dev.baton.v1.Loss;
import dev.baton.v1.MetricPoint;
import dev.baton.v1.Run;
import dev.baton.v1.SnapshotWritten;
import dev.baton.v1.TrainerMessage;
import dev.baton.worker.checkpoint.SafetensorsReader;
import dev.baton.worker.trainer.MemoryData.Pass;
import dev.baton.worker.trainer.torch.TorchEngines;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** Whole attempts in libtorch: what is stopped and resumed ends with the bits of what was not. */
final class TorchRunTest {
  private static final EngineFactory ENGINES = TorchEngines.load();

  /**
   * A job of two epochs of six steps, the last of them smaller, with evaluations of three batches.
   *
   * @param trainStops steps after which to stop it
   * @param evalStops batches of the first evaluation after which to stop it
   */
  private record Case(
      JobSpec spec,
      MemoryData.Pictures pictures,
      List<Integer> trainStops,
      List<Integer> evalStops) {
    @Override
    public String toString() {
      return spec.getModel().getBuiltin().getName();
    }
  }

  private static List<Case> cases() {
    JobSpec.Builder lenet = job("lenet", 2);
    lenet
        .getTrainingBuilder()
        .getOptimizerBuilder()
        .getSgdBuilder()
        .setLr(0.01)
        .setMomentum(0.9)
        .setWeightDecay(1e-4);
    JobSpec.Builder dropout = job("mnist-cnn", 1);
    dropout.getTrainingBuilder().getOptimizerBuilder().getAdamBuilder().setLr(0.003);
    JobSpec.Builder batchNorm = job("resnet18", 1);
    batchNorm.getTrainingBuilder().getOptimizerBuilder().getAdamwBuilder();
    List<Integer> many = List.of(1, 2, 3, 4, 6, 7, 11);
    return List.of(
        new Case(lenet.build(), new MemoryData.Pictures(44, 3, 32), many, List.of(1, 2, 3)),
        new Case(dropout.build(), new MemoryData.Pictures(44, 1, 28), many, List.of(1, 2, 3)),
        // It takes longest.
        new Case(batchNorm.build(), new MemoryData.Pictures(44, 3, 32), List.of(5, 6), List.of(2)));
  }

  private static JobSpec.Builder job(String model, int shards) {
    JobSpec.Builder job = JobSpec.newBuilder();
    job.getModelBuilder().getBuiltinBuilder().setName(model).setNumClasses(10);
    job.getTrainingBuilder()
        .setEpochs(2)
        .setBatchSize(8)
        .setSeed(11)
        .setLogEvery(4)
        .setLoss(Loss.LOSS_CROSS_ENTROPY);
    job.getReplicasBuilder().setShards(shards);
    job.getResourcesBuilder().setCpus(1);
    job.getCheckpointBuilder().getIntervalBuilder().setSeconds(3600);
    return job;
  }

  /** What an attempt said. */
  private record Attempt(Path dir, List<TrainerMessage> said, String log) {
    Finished finished() {
      return said.stream()
          .filter(TrainerMessage::hasFinished)
          .findFirst()
          .orElseThrow(() -> new AssertionError(log))
          .getFinished();
    }

    SnapshotWritten stopped() {
      return said.stream()
          .filter(m -> m.getSnapshot().getStopped())
          .findFirst()
          .orElseThrow(() -> new AssertionError(log))
          .getSnapshot();
    }
  }

  @TempDir Path dir;
  private int attempts;

  @ParameterizedTest
  @MethodSource("cases")
  void stoppedAnywhereItEndsWithTheSameBits(Case job) throws Exception {
    Finished whole = attempt(job, "", Pass.TRAIN, 0).finished();
    assertThat(whole.getStep()).isEqualTo(12);
    for (Pass pass : Pass.values()) {
      for (long at : pass == Pass.EVAL ? job.evalStops() : job.trainStops()) {
        SnapshotWritten stop = attempt(job, "", pass, at).stopped();
        assertThat(stop.getStep()).isEqualTo(pass == Pass.TRAIN ? at : 6);
        Finished resumed = attempt(job, stop.getFile(), Pass.TRAIN, 0).finished();
        assertThat(resumed.getResult()).isEqualTo(whole.getResult());
        List<MetricPoint> points = new ArrayList<>(stop.getPointsList());
        points.addAll(resumed.getPointsList());
        assertThat(points.stream().map(TorchRunTest::timeless).toList())
            .isEqualTo(whole.getPointsList().stream().map(TorchRunTest::timeless).toList());
      }
    }
  }

  @ParameterizedTest
  @MethodSource("cases")
  void theModelItLeavesIsTheOneItTrained(Case job) throws Exception {
    Attempt attempt = attempt(job, "", Pass.TRAIN, 0);
    MessageDigest digest = MessageDigest.getInstance("SHA-256");
    try (SafetensorsReader model =
        SafetensorsReader.open(attempt.dir().resolve("model.safetensors"))) {
      assertThat(model.metadata()).containsExactly(Map.entry("format", "pt"));
      // ASCII names: Java's order is the bytes' order.
      for (var tensor : new TreeMap<>(model.tensors()).entrySet()) {
        ByteBuffer bytes =
            ByteBuffer.allocate((int) (tensor.getValue().end() - tensor.getValue().begin()));
        model.read(tensor.getKey(), bytes);
        digest.update(bytes.flip());
      }
    }
    assertThat(attempt.finished().getResult().getWeightsSha256())
        .isEqualTo(HexFormat.of().formatHex(digest.digest()));

    Assumptions.assumeTrue(
        python(attempt.dir(), "-c", "import torch").isEmpty(),
        "there is no /usr/bin/python3 with torch");
    assertThat(python(attempt.dir(), "model.py", "model.pth")).isEmpty();
    // Strictly, and with the bytes that were digested.
    assertThat(
            python(
                attempt.dir(),
                "-c",
                """
                import hashlib, torch
                from model import net
                state = torch.load("model.pth", weights_only=True)
                net.load_state_dict(state, strict=True)
                h = hashlib.sha256()
                for name in sorted(net.state_dict(), key=str.encode):
                    h.update(net.state_dict()[name].numpy().tobytes())
                assert h.hexdigest() == "%s", h.hexdigest()
                """
                    .formatted(attempt.finished().getResult().getWeightsSha256())))
        .isEmpty();
  }

  /** Runs until a stop, asked for at the pass's batch of that number, or to the end for 0. */
  private Attempt attempt(Case job, String checkpoint, Pass pass, long stopAt) throws Exception {
    Path attemptDir = Files.createDirectory(dir.resolve("attempt" + ++attempts));
    TrainingControl control = new TrainingControl(Long.MAX_VALUE);
    control.go(Long.MAX_VALUE, 0);
    List<TrainerMessage> said = new ArrayList<>();
    ByteArrayOutputStream log = new ByteArrayOutputStream();
    new Trainer(
            ENGINES,
            run ->
                new MemoryData(
                    run.getSpec(),
                    job.pictures(),
                    (which, batch) -> {
                      if (which == pass && batch == stopAt) {
                        control.checkpointNow(true);
                      }
                    }),
            said::add,
            new PrintStream(log, true, StandardCharsets.UTF_8),
            new TrainingRun.Time(System::nanoTime, System::currentTimeMillis))
        .run(
            Run.newBuilder()
                .setSpec(job.spec())
                .setSpecDigest("d")
                .setCheckpointFile(checkpoint)
                .setAttemptDir(attemptDir.toString())
                .setDevice("cpu")
                .build(),
            control);
    return new Attempt(attemptDir, said, log.toString(StandardCharsets.UTF_8));
  }

  private static MetricPoint timeless(MetricPoint point) {
    return switch (point.getSeries()) {
      case "train/samples_per_second", "train/data_wait", "epoch/seconds" ->
          point.toBuilder().setValue(0).setTimeMs(0).build();
      default -> point.toBuilder().setTimeMs(0).build();
    };
  }

  /** Empty where it ended well, else what it said. */
  private static String python(Path dir, String... args) throws IOException, InterruptedException {
    List<String> line = new ArrayList<>(List.of("/usr/bin/python3"));
    line.addAll(List.of(args));
    Process process;
    try {
      process = new ProcessBuilder(line).directory(dir.toFile()).redirectErrorStream(true).start();
    } catch (IOException e) {
      return e.toString();
    }
    String said = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    return process.waitFor() == 0 ? "" : "exit " + process.exitValue() + ": " + said;
  }
}
