package dev.baton.worker.checkpoint;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.baton.worker.trainer.DType;
import dev.baton.worker.trainer.TensorInfo;
import dev.baton.worker.trainer.TensorInfo.Role;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.List;
import java.util.zip.ZipFile;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

final class PthWriterTest {
  private static final List<TensorInfo> TENSORS =
      List.of(
          new TensorInfo("0.weight", DType.FLOAT32, List.of(2L, 3L), Role.PARAMETER),
          new TensorInfo("0.bias", DType.FLOAT32, List.of(2L), Role.PARAMETER),
          new TensorInfo("1.num_batches_tracked", DType.INT64, List.of(), Role.BUFFER),
          new TensorInfo("größe", DType.FLOAT64, List.of(1L), Role.BUFFER),
          new TensorInfo("bytes", DType.UINT8, List.of(3L), Role.BUFFER));

  @TempDir Path dir;

  @Test
  void pythonLoadsItAsWeightsOnly() throws Exception {
    assumeTrue(python("import torch").isEmpty(), "there is no /usr/bin/python3 with torch");
    assertThat(
            python(
                """
                import torch
                d = torch.load(%s, weights_only=True)
                assert list(d) == ["0.weight", "0.bias", "1.num_batches_tracked", "größe", "bytes"]
                assert d["0.weight"].tolist() == [[0, 1, 2], [3, 4, 5]], d
                assert d["0.bias"].tolist() == [0, 1]
                assert d["1.num_batches_tracked"].shape == () and d["1.num_batches_tracked"] == 7
                assert d["1.num_batches_tracked"].dtype == torch.int64
                assert d["größe"].dtype == torch.float64 and d["größe"].tolist() == [0.5]
                assert d["bytes"].tolist() == [1, 2, 255] and d["bytes"].dtype == torch.uint8
                net = torch.nn.Sequential(torch.nn.Linear(3, 2))
                net.load_state_dict({k: d[k] for k in ["0.weight", "0.bias"]}, strict=True)
                """
                    .formatted("'" + write() + "'")))
        .isEmpty();
  }

  @Test
  void storagesAreStoredAligned() throws IOException {
    Path file = write();
    byte[] bytes = java.nio.file.Files.readAllBytes(file);
    byte[] six = new byte[24];
    ByteBuffer.wrap(six).order(ByteOrder.LITTLE_ENDIAN).asFloatBuffer().put(numbers(6));
    try (ZipFile zip = new ZipFile(file.toFile())) {
      assertThat(zip.stream().map(e -> e.getName()))
          .containsExactly(
              "archive/data.pkl",
              "archive/byteorder",
              "archive/data/0",
              "archive/data/1",
              "archive/data/2",
              "archive/data/3",
              "archive/data/4",
              "archive/version");
      assertThat(zip.getInputStream(zip.getEntry("archive/data/0")).readAllBytes()).isEqualTo(six);
    }
    int at =
        new String(bytes, StandardCharsets.ISO_8859_1)
            .indexOf(new String(six, StandardCharsets.ISO_8859_1));
    assertThat(at % 64).isZero();
  }

  private Path write() throws IOException {
    Path file = dir.resolve("model.pth");
    ByteBuffer weight = buffer(24);
    weight.asFloatBuffer().put(numbers(6));
    ByteBuffer bias = buffer(8);
    bias.asFloatBuffer().put(numbers(2));
    PthWriter.write(
        file,
        TENSORS,
        List.of(
            weight,
            bias,
            buffer(8).putLong(0, 7),
            buffer(8).putDouble(0, 0.5),
            buffer(3).put(0, new byte[] {1, 2, -1})));
    return file;
  }

  private static float[] numbers(int n) {
    float[] values = new float[n];
    for (int i = 0; i < n; i++) {
      values[i] = i;
    }
    return values;
  }

  private static ByteBuffer buffer(int bytes) {
    return ByteBuffer.allocateDirect(bytes).order(ByteOrder.LITTLE_ENDIAN);
  }

  /** Runs a script; empty where it ended well, else what it said. */
  private static String python(String script) throws IOException, InterruptedException {
    Process process;
    try {
      process =
          new ProcessBuilder("/usr/bin/python3", "-c", script).redirectErrorStream(true).start();
    } catch (IOException e) {
      return e.toString();
    }
    String said = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    return process.waitFor() == 0 ? "" : "exit " + process.exitValue() + ": " + said;
  }
}
