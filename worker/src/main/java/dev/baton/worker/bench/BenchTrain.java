package dev.baton.worker.bench;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.google.protobuf.ByteString;
import dev.baton.dataset.DatasetScanner;
import dev.baton.dataset.ProgressListener;
import dev.baton.v1.Dataset;
import dev.baton.v1.JobSpec;
import dev.baton.v1.LocalDataset;
import dev.baton.v1.Source;
import dev.baton.v1.Synthetic;
import dev.baton.v1.SyntheticRegression;
import dev.baton.worker.checkpoint.StateDigest;
import dev.baton.worker.data.Batch;
import dev.baton.worker.data.BatchPlan;
import dev.baton.worker.data.Batches;
import dev.baton.worker.data.EvalBatches;
import dev.baton.worker.data.SampleSource;
import dev.baton.worker.data.SampleSources;
import dev.baton.worker.data.ShardRange;
import dev.baton.worker.data.TrainBatches;
import dev.baton.worker.trainer.DeviceBatches;
import dev.baton.worker.trainer.Engine;
import dev.baton.worker.trainer.Engine.Sums;
import dev.baton.worker.trainer.Engine.Totals;
import dev.baton.worker.trainer.Membership;
import dev.baton.worker.trainer.TensorInfo;
import dev.baton.worker.trainer.torch.TorchEngines;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.IntConsumer;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/**
 * One measured training, with the batches and the engine of a job. Timing covers the training loop
 * alone, after three steps to warm up.
 *
 * @param steps to measure; 0 for the workload's own number
 * @param mnist the folder of MNIST's files; null where the workload needs none
 * @param replicas that share each batch
 * @param shards that each batch is cut into, at least one for each replica
 * @param fast replicas without the promise of the same bits
 */
record BenchTrain(
    Workload workload,
    int threads,
    int steps,
    boolean bf16,
    String device,
    @Nullable Path mnist,
    int replicas,
    int shards,
    boolean fast) {
  private static final int WARM_UP = 3;
  private static final int EVAL_BATCH = 500;

  /**
   * Runs it; the result as one line of JSON.
   *
   * @param membership this process's place among the replicas; null where there is one
   * @param listening told the port where rank 0 awaits the others
   */
  String run(@Nullable Membership membership, IntConsumer listening)
      throws IOException, InterruptedException {
    Path scratch = Files.createTempDirectory("baton-bench");
    try {
      return run(scratch, membership, listening);
    } finally {
      try (Stream<Path> files = Files.walk(scratch)) {
        for (Path file : files.sorted((a, b) -> b.compareTo(a)).toList()) {
          Files.delete(file);
        }
      }
    }
  }

  private String run(Path scratch, @Nullable Membership membership, IntConsumer listening)
      throws IOException, InterruptedException {
    int rank = membership == null ? 0 : membership.rank();
    JobSpec job = workload.job(shards, !fast);
    TorchEngines engines = TorchEngines.load();
    int total = steps > 0 ? steps + WARM_UP : workload.steps();
    @Nullable LocalDataset digits = mnist == null ? null : describe(mnist, scratch);
    try (SampleSource source = source(digits, "train", scratch);
        Engine engine =
            bf16
                ? engines.createAutocast(job, source.format(), device)
                : engines.create(job, source.format(), device)) {
      if (membership != null) {
        engine.join(membership, new Engine.Standing(0, ByteString.EMPTY), listening);
      }
      BatchPlan plan = new BatchPlan(source.size(), workload.batch(), shards, true, 0, total);
      ShardRange held = ShardRange.of(shards, rank, replicas);
      long begin = 0;
      long nanos;
      double loss;
      try (Batches batches =
          new DeviceBatches(
              engine,
              Engine.Use.TRAIN,
              source,
              1,
              (from, first) -> new TrainBatches(from, plan, 1, workload.shuffle(), first, held))) {
        for (int step = 1; step <= total; step++) {
          Batch batch = batches.next();
          if (batch == null) {
            throw new IllegalStateException("the batches end before step " + step);
          }
          if (step == WARM_UP + 1) {
            engine.read(Sums.LOG); // waits for the device
            begin = System.nanoTime();
          }
          if (step == total) {
            engine.set(Sums.LOG, Totals.ZERO);
          }
          engine.trainStep(batch);
          batch.release();
        }
        Totals last = engine.read(Sums.LOG);
        nanos = System.nanoTime() - begin;
        loss = last.loss() / last.samples();
      }
      Map<String, Object> line = new LinkedHashMap<>();
      line.put("workload", workload.label());
      line.put("torch", engines.libtorch());
      line.put("device", device);
      line.put("precision", bf16 ? "bf16" : "fp32");
      line.put("threads", threads);
      line.put("steps", total - WARM_UP);
      line.put("seconds", Numbers.rounded(nanos / 1e9, 3));
      line.put("us_per_step", Numbers.rounded(nanos / 1e3 / (total - WARM_UP), 1));
      line.put("loss", Numbers.rounded(loss, 5));
      if (digits != null) {
        line.put("accuracy", Numbers.rounded(accuracy(engine, digits, scratch, rank), 4));
      }
      if (replicas > 1 || shards > 1) {
        line.put("replicas", replicas);
        line.put("shards", shards);
        line.put("weights_sha256", weightsSha256(engine));
      }
      return new ObjectMapper().writeValueAsString(line);
    }
  }

  private static String weightsSha256(Engine engine) {
    List<TensorInfo> layout = engine.layout();
    List<ByteBuffer> state =
        layout.stream()
            .map(
                info ->
                    ByteBuffer.allocateDirect(Math.toIntExact(info.bytes()))
                        .order(ByteOrder.nativeOrder()))
            .toList();
    engine.copyStateTo(state);
    return StateDigest.weightsSha256(layout, state);
  }

  private SampleSource source(@Nullable LocalDataset digits, String split, Path scratch) {
    return switch (workload) {
      case LINREG ->
          SampleSources.open(
              Source.newBuilder()
                  .setSynthetic(
                      Synthetic.newBuilder()
                          .setRegression(
                              SyntheticRegression.newBuilder().setSamples(workload.batch())))
                  .build(),
              List.of(),
              List.of(),
              scratch,
              1);
      case LENET_CIFAR -> new RandomPictures(4000, 3, 32, true);
      case RESNET18 -> new RandomPictures(2 * workload.batch(), 1, 96, false);
      case MNIST_CNN -> {
        if (digits == null) {
          throw new IllegalStateException("mnist-cnn needs data");
        }
        yield SampleSources.open(
            Source.newBuilder().setDataset("mnist").setSplit(split).build(),
            List.of(),
            List.of(digits),
            scratch,
            1);
      }
    };
  }

  private static LocalDataset describe(Path mnist, Path scratch)
      throws IOException, InterruptedException {
    Dataset dataset =
        DatasetScanner.scan(mnist, null, scratch, ProgressListener.NONE).dataset().toBuilder()
            .setName("mnist")
            .setDigest("mnist")
            .build();
    return LocalDataset.newBuilder().setDataset(dataset).setDir(mnist.toString()).build();
  }

  private double accuracy(Engine engine, LocalDataset digits, Path scratch, int rank)
      throws InterruptedException {
    engine.set(Sums.EVAL, Totals.ZERO);
    try (SampleSource source = source(digits, "test", scratch);
        Batches batches = new EvalBatches(source, EVAL_BATCH, 1, 1, rank, replicas)) {
      Batch batch = batches.next();
      while (batch != null) {
        engine.evalBatch(batch);
        batch.release();
        batch = batches.next();
      }
    }
    Totals totals = engine.read(Sums.EVAL);
    return totals.correct() / totals.samples();
  }
}
