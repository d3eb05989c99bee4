package dev.baton.worker.trainer;

import dev.baton.v1.Dataset;
import dev.baton.v1.DatasetFile;
import dev.baton.v1.DatasetFormat;
import dev.baton.v1.DatasetSplit;
import dev.baton.v1.JobSpec;
import dev.baton.v1.LocalDataset;
import dev.baton.v1.Loss;
import dev.baton.v1.Run;
import dev.baton.v1.Source;
import dev.baton.v1.TrainerMessage;
import dev.baton.worker.cache.Trees;
import java.io.IOException;
import java.io.OutputStream;
import java.io.PrintStream;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.concurrent.CompletableFuture;
import java.util.function.Consumer;

/**
 * A made-up job of a few tiny steps, which a trainer makes and throws away while it waits for its
 * first one: what a process does once (load classes, compile, set libtorch up) is done when that
 * comes. It changes no job's bits: these depend on nothing that another job leaves in the process.
 *
 * <p>It computes on the CPU, for a GPU's trainer too, since a job may be using that GPU.
 */
final class WarmUp {
  /** How the name of its folder begins. */
  static final String FOLDER = "warm-up";

  private static final int SAMPLES = 8;

  /** The least that mnist-cnn takes. */
  private static final int EDGE = 14;

  private static final int IMAGES_MAGIC = 0x0803;
  private static final int LABELS_MAGIC = 0x0801;

  private WarmUp() {}

  /**
   * Runs it; it ends early, between two steps, when the job is there.
   *
   * @param heard told what a daemon would be
   * @throws IOException where its files cannot be written
   */
  static void run(
      EngineFactory engines,
      Trainer.DataOpener opener,
      CompletableFuture<?> job,
      Consumer<TrainerMessage> heard)
      throws IOException, InterruptedException {
    Path dir = Files.createTempDirectory(FOLDER);
    try {
      Run run = job(dir);
      TrainingControl control = Trainer.control(run.getSpec());
      control.go(Long.MAX_VALUE, System.nanoTime());
      control.checkpointNow(false);
      var unused = job.thenRun(() -> control.checkpointNow(true));
      new Trainer(
              engines,
              opener,
              heard,
              new PrintStream(OutputStream.nullOutputStream(), false, StandardCharsets.UTF_8),
              new TrainingRun.Time(System::nanoTime, System::currentTimeMillis))
          .run(run, control);
    } finally {
      Trees.delete(dir);
    }
  }

  /** The job, with its data, in an empty folder. */
  static Run job(Path dir) throws IOException {
    return Run.newBuilder()
        .setSpec(spec())
        .addDatasets(digits(dir))
        .setAttemptDir(dir.resolve("attempt").toString())
        .setDecodedDir(dir.toString())
        .setDevice("cpu")
        .build();
  }

  private static JobSpec spec() {
    JobSpec.Builder spec = JobSpec.newBuilder();
    spec.getModelBuilder().getBuiltinBuilder().setName("mnist-cnn");
    spec.getDataBuilder()
        .setTrain(source("train").setShuffle(true))
        .setEval(source("test").setBatchSize(SAMPLES));
    spec.getTrainingBuilder()
        .setEpochs(1)
        .setBatchSize(SAMPLES / 2)
        .setLogEvery(1)
        .setLoss(Loss.LOSS_CROSS_ENTROPY)
        .getOptimizerBuilder()
        .getAdamBuilder();
    spec.getReplicasBuilder().setMax(1).setShards(1);
    spec.getResourcesBuilder().setCpus(1);
    spec.getCheckpointBuilder().getIntervalBuilder().setSeconds(3_600);
    return spec.build();
  }

  private static Source.Builder source(String split) {
    return Source.newBuilder().setDataset("digits").setSplit(split);
  }

  private static LocalDataset digits(Path dir) throws IOException {
    Dataset.Builder dataset =
        Dataset.newBuilder()
            .setName("digits")
            .setDigest("warm-up")
            .setFormat(DatasetFormat.DATASET_FORMAT_IDX);
    for (String[] names : new String[][] {{"train", "train"}, {"test", "t10k"}}) {
      dataset
          .addSplits(
              DatasetSplit.newBuilder()
                  .setName(names[0])
                  .setSamples(SAMPLES)
                  .setClasses(1)
                  .addShape(1)
                  .addShape(EDGE)
                  .addShape(EDGE))
          .addFiles(idx(dir, names[1] + "-images-idx3-ubyte", IMAGES_MAGIC, SAMPLES, EDGE, EDGE))
          .addFiles(idx(dir, names[1] + "-labels-idx1-ubyte", LABELS_MAGIC, SAMPLES));
    }
    return LocalDataset.newBuilder().setDataset(dataset).setDir(dir.toString()).build();
  }

  /** Zeros. */
  private static DatasetFile idx(Path dir, String name, int magic, int... dimensions)
      throws IOException {
    int bytes = 1;
    for (int dimension : dimensions) {
      bytes *= dimension;
    }
    ByteBuffer content = ByteBuffer.allocate(Integer.BYTES * (1 + dimensions.length) + bytes);
    content.putInt(magic);
    for (int dimension : dimensions) {
      content.putInt(dimension);
    }
    Files.write(dir.resolve(name), content.array());
    return DatasetFile.newBuilder().setPath(name).setBytes(content.capacity()).build();
  }
}
