package dev.baton.worker.trainer;

import static dev.baton.worker.testing.Eventually.await;
import static org.assertj.core.api.Assertions.assertThat;

import dev.baton.v1.Finished;
import dev.baton.v1.JobSpec;
import dev.baton.v1.Loss;
import dev.baton.v1.Run;
import dev.baton.v1.TrainerMessage;
import dev.baton.worker.trainer.torch.TorchEngines;
import java.io.IOException;
import java.io.OutputStream;
import java.io.PrintStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** What a trainer does before its job comes, in libtorch. */
final class WarmUpTest {
  private static final EngineFactory ENGINES = TorchEngines.load();

  @TempDir Path dir;
  private int attempts;

  @Test
  void itTrainsEvaluatesAndWritesAndChangesNoBitOfAJob() throws Exception {
    Finished before = train();
    List<TrainerMessage> heard = warmUp(new CompletableFuture<>());
    assertThat(heard)
        .extracting(TrainerMessage::getMessageCase)
        .startsWith(TrainerMessage.MessageCase.PREPARED)
        .contains(TrainerMessage.MessageCase.PROGRESS, TrainerMessage.MessageCase.SNAPSHOT)
        .endsWith(TrainerMessage.MessageCase.FINISHED);
    assertThat(heard.get(heard.size() - 1).getFinished().getResult().getMetricsMap())
        .containsKey("accuracy");
    assertThat(train().getResult()).isEqualTo(before.getResult());
  }

  @Test
  void itEndsEarlyForAJob() throws Exception {
    assertThat(warmUp(CompletableFuture.completedFuture("a job")))
        .extracting(TrainerMessage::getMessageCase)
        .doesNotContain(TrainerMessage.MessageCase.FINISHED, TrainerMessage.MessageCase.FAILED);
  }

  @Test
  void aTrainerThatHasWarmedUpLoadsNextToNothingForItsFirstStep() throws Exception {
    Path classes = dir.resolve("classes");
    Path temporary = Files.createDirectory(dir.resolve("tmp"));
    try (ChildTrainer child =
        new ChildTrainer(
            dir,
            "a",
            TrainerMain.class,
            "-Xlog:class+load:file=" + classes + "::filecount=0",
            "-Djava.io.tmpdir=" + temporary)) {
      child.await(TrainerMessage::hasReady);
      await(
          "it has warmed up",
          () -> loaded(classes).contains(ModelFiles.class.getName()) && !holdsWarmUp(temporary));
      int before = loaded(classes).size();
      Run job = WarmUp.job(Files.createDirectory(dir.resolve("data")));
      child.send(m -> m.setRun(job));
      child.go(TimeUnit.HOURS.toNanos(1));
      child.await(TrainerMessage::hasProgress);
      List<String> loaded = loaded(classes);
      // Else some two thousand, of which libtorch's are hundreds.
      assertThat(loaded.subList(before, loaded.size()))
          .hasSizeLessThan(100)
          .noneMatch(name -> name.startsWith("org.bytedeco."));
    }
  }

  /** As they come, by what the JVM logs. */
  private static List<String> loaded(Path log) {
    try {
      return Files.readAllLines(log).stream()
          .map(line -> line.substring(line.lastIndexOf(']') + 1).strip().split(" ", 2)[0])
          .toList();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private static boolean holdsWarmUp(Path folder) {
    try (Stream<Path> files = Files.list(folder)) {
      return files.anyMatch(file -> file.getFileName().toString().startsWith(WarmUp.FOLDER));
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private static List<TrainerMessage> warmUp(CompletableFuture<?> job) throws Exception {
    List<TrainerMessage> heard = new ArrayList<>();
    WarmUp.run(
        ENGINES,
        JobData::open,
        job,
        message -> {
          synchronized (heard) {
            heard.add(message);
          }
        });
    return heard;
  }

  /** With dropout, so that what is left of a generator would show. */
  private Finished train() throws Exception {
    JobSpec.Builder spec = JobSpec.newBuilder();
    spec.getModelBuilder().getBuiltinBuilder().setName("mnist-cnn").setNumClasses(10);
    spec.getTrainingBuilder()
        .setEpochs(2)
        .setBatchSize(8)
        .setSeed(3)
        .setLogEvery(2)
        .setLoss(Loss.LOSS_CROSS_ENTROPY)
        .getOptimizerBuilder()
        .getAdamBuilder()
        .setLr(0.003);
    spec.getReplicasBuilder().setShards(1);
    spec.getResourcesBuilder().setCpus(1);
    spec.getCheckpointBuilder().getIntervalBuilder().setSeconds(3_600);
    TrainingControl control = Trainer.control(spec.build());
    control.go(Long.MAX_VALUE, 0);
    List<TrainerMessage> said = new ArrayList<>();
    new Trainer(
            ENGINES,
            run ->
                new MemoryData(
                    run.getSpec(), new MemoryData.Pictures(24, 1, 28), (pass, batch) -> {}),
            said::add,
            new PrintStream(OutputStream.nullOutputStream(), false, StandardCharsets.UTF_8),
            new TrainingRun.Time(System::nanoTime, System::currentTimeMillis))
        .run(
            Run.newBuilder()
                .setSpec(spec)
                .setSpecDigest("d")
                .setAttemptDir(
                    Files.createDirectory(dir.resolve("attempt" + ++attempts)).toString())
                .setDevice("cpu")
                .build(),
            control);
    return said.get(said.size() - 1).getFinished();
  }
}
