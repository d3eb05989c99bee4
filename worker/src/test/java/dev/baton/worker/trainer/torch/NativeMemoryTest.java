package dev.baton.worker.trainer.torch;

import static org.assertj.core.api.Assertions.assertThat;

import dev.baton.v1.JobSpec;
import dev.baton.worker.data.Batch;
import dev.baton.worker.process.TrainerEnvironment;
import dev.baton.worker.trainer.Engine;
import dev.baton.worker.trainer.Engine.Sums;
import dev.baton.worker.trainer.Engine.Totals;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.bytedeco.javacpp.Pointer;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Thousands of steps, evaluations and snapshots leave the process as large as it was. */
class NativeMemoryTest {
  private static final int STEPS = 1000;
  private static final int ROUNDS = 4;

  /** A step makes some 300 KB of tensors; a hundredth of them kept would be 3 MB. */
  private static final long MOST = 1 << 20;

  /** In a JVM of its own, whose heap is in memory from the start: all growth is native. */
  @ParameterizedTest
  @ValueSource(ints = {1, 4})
  void stepsLeaveNothing(int shards) throws IOException, InterruptedException {
    List<String> line = new ArrayList<>();
    line.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
    line.addAll(TrainerEnvironment.javaOptions());
    line.addAll(List.of("-Xms64m", "-Xmx64m", "-XX:+AlwaysPreTouch"));
    line.addAll(List.of("-cp", System.getProperty("java.class.path")));
    line.addAll(List.of(NativeMemoryTest.class.getName(), Integer.toString(shards)));
    ProcessBuilder builder = new ProcessBuilder(line).redirectErrorStream(true);
    builder.environment().putAll(TrainerEnvironment.variables(1));
    Process process = builder.start();
    String output = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    assertThat(process.waitFor()).as(output).isZero();
    List<String> lines = output.strip().lines().toList();
    assertThat(Long.parseLong(lines.get(lines.size() - 1))).as(output).isLessThan(MOST);
  }

  /** Prints the bytes by which the process grew in the best of some rounds: a leak grows in all. */
  public static void main(String[] args) {
    int shards = Integer.parseInt(args[0]);
    Pictures pictures = new Pictures(3, 32);
    JobSpec spec = Jobs.of("lenet", Jobs.sgd(0.001, 0.9), 4, shards);
    Batch batch = pictures.batch(1, 4, shards);
    long least = Long.MAX_VALUE;
    try (Engine engine = TorchEngines.load().create(spec, pictures.format(), "cpu")) {
      List<ByteBuffer> state = States.copy(engine);
      work(engine, batch, state);
      for (int round = 0; round < ROUNDS; round++) {
        long before = Pointer.physicalBytes();
        work(engine, batch, state);
        least = Math.min(least, Pointer.physicalBytes() - before);
      }
    }
    System.out.println(least);
  }

  private static void work(Engine engine, Batch batch, List<ByteBuffer> state) {
    for (int i = 0; i < STEPS; i++) {
      engine.trainStep(batch);
      if (i % 10 == 0) {
        engine.evalBatch(batch);
        engine.read(Sums.EVAL);
        engine.set(Sums.LOG, Totals.ZERO);
        engine.evalByClass();
        engine.copyStateTo(state);
        engine.restoreState(state);
      }
    }
  }
}
