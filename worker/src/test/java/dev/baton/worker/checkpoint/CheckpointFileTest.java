package dev.baton.worker.checkpoint;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.baton.worker.trainer.DType;
import dev.baton.worker.trainer.Engine.Totals;
import dev.baton.worker.trainer.TensorInfo;
import dev.baton.worker.trainer.TensorInfo.Role;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

final class CheckpointFileTest {
  private static final String DIGEST = "d1";
  private static final List<TensorInfo> LAYOUT =
      List.of(
          new TensorInfo("fc.weight", DType.FLOAT32, List.of(3L, 5L), Role.PARAMETER),
          new TensorInfo("bn.seen", DType.INT64, List.of(), Role.BUFFER),
          new TensorInfo("mask", DType.UINT8, List.of(3L), Role.BUFFER),
          new TensorInfo("none", DType.FLOAT32, List.of(0L, 4L), Role.BUFFER),
          new TensorInfo("optimizer/step/fc.weight", DType.FLOAT64, List.of(2L), Role.OPTIMIZER));
  private static final RunState STATE =
      new RunState(
          DIGEST,
          "cpu \"quoted\" kind",
          4,
          2,
          17,
          2,
          544,
          true,
          new Totals(0.1 + 0.2, 3, 7),
          1.25,
          Double.MIN_VALUE,
          new Totals(Math.PI, 1e300, 544),
          1e-17);

  @TempDir Path dir;

  @Test
  void whatIsWrittenComesBackToTheBit() throws IOException {
    Path file = write();
    List<ByteBuffer> target = buffers(LAYOUT);
    assertThat(CheckpointFile.read(file, LAYOUT, target, DIGEST)).isEqualTo(STATE);
    List<ByteBuffer> expected = filled();
    for (int i = 0; i < LAYOUT.size(); i++) {
      assertThat(target.get(i).rewind()).isEqualTo(expected.get(i));
    }
    assertThat(dir.resolve("c.safetensors.part")).doesNotExist();
  }

  @Test
  void theFileIsWhatSafetensorsDocuments() throws IOException {
    ByteBuffer file = ByteBuffer.wrap(Files.readAllBytes(write())).order(ByteOrder.LITTLE_ENDIAN);
    int headerBytes = (int) file.getLong();
    assertThat(headerBytes % 8).isZero();
    String header = new String(file.array(), 8, headerBytes, StandardCharsets.UTF_8);
    assertThat(header)
        .startsWith("{\"__metadata__\":{")
        .contains("\"format\":\"pt\"")
        .contains("\"bn.seen\":{\"dtype\":\"I64\",\"shape\":[],\"data_offsets\":[0,8]}")
        .contains(
            "\"optimizer/step/fc.weight\":{\"dtype\":\"F64\",\"shape\":[2],\"data_offsets\":[8,24]}")
        .contains("\"fc.weight\":{\"dtype\":\"F32\",\"shape\":[3,5],\"data_offsets\":[24,84]}")
        .contains("\"mask\":{\"dtype\":\"U8\",\"shape\":[3],\"data_offsets\":[84,87]}");
    assertThat(file.capacity()).isEqualTo(8 + headerBytes + 87);
  }

  @Test
  void anotherJobsOrModelsCheckpointIsRefused() throws IOException {
    Path file = write();
    assertThatThrownBy(() -> CheckpointFile.read(file, LAYOUT, buffers(LAYOUT), "d2"))
        .isInstanceOf(CheckpointException.class)
        .hasMessageContaining("is of another job");
    List<TensorInfo> wider =
        List.of(new TensorInfo("fc.weight", DType.FLOAT32, List.of(5L, 3L), Role.PARAMETER));
    assertThatThrownBy(() -> CheckpointFile.read(file, wider, buffers(wider), DIGEST))
        .isInstanceOf(CheckpointException.class)
        .hasMessageContaining("'fc.weight' is FLOAT32 [3, 5]; this job's model has FLOAT32 [5, 3]");
    List<TensorInfo> other =
        List.of(new TensorInfo("fc.bias", DType.FLOAT32, List.of(5L), Role.PARAMETER));
    assertThatThrownBy(() -> CheckpointFile.read(file, other, buffers(other), DIGEST))
        .isInstanceOf(CheckpointException.class)
        .hasMessageContaining("lacks tensor 'fc.bias'");
    List<TensorInfo> fewer = LAYOUT.subList(0, 2);
    assertThatThrownBy(() -> CheckpointFile.read(file, fewer, buffers(fewer), DIGEST))
        .isInstanceOf(CheckpointException.class)
        .hasMessageContaining("holds 5 tensors; this job's model has 2");
    Path model = dir.resolve("model.safetensors");
    SafetensorsWriter.write(model, LAYOUT, filled(), Map.of("format", "pt"));
    assertThatThrownBy(() -> CheckpointFile.read(model, LAYOUT, buffers(LAYOUT), DIGEST))
        .isInstanceOf(CheckpointException.class)
        .hasMessageContaining("holds no run state");
  }

  @Test
  void aHeaderThatClaimsTooMuchIsDamage() throws IOException {
    for (long claim : new long[] {-1, 0, 1, Long.MAX_VALUE, Integer.MAX_VALUE, 1 << 20}) {
      byte[] bytes = Files.readAllBytes(write());
      ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN).putLong(claim);
      assertDamaged(bytes, "header claims");
    }
    for (String header :
        List.of(
            "[]",
            "{\"a\":1}",
            "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,8]}}",
            "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[8,16]}}",
            "{\"a\":{\"dtype\":\"F32\",\"shape\":[-2],\"data_offsets\":[0,8]}}",
            "{\"a\":{\"dtype\":\"F9\",\"shape\":[2],\"data_offsets\":[0,8]}}",
            "{\"a\":{\"dtype\":\"F32\",\"shape\":[4611686018427387906],\"data_offsets\":[0,8]}}",
            "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}",
            "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},"
                + "\"b\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}",
            "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},"
                + "\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}",
            "{\"__metadata__\":{\"a\":1},"
                + "\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}",
            "[".repeat(5000))) {
      byte[] json = header.getBytes(StandardCharsets.UTF_8);
      assertDamaged(
          ByteBuffer.allocate(8 + json.length + 8)
              .order(ByteOrder.LITTLE_ENDIAN)
              .putLong(json.length)
              .put(json)
              .array(),
          "is damaged");
    }
  }

  @Test
  void noDamageEndsInAnythingButOneClearError() throws IOException {
    byte[] whole = Files.readAllBytes(write());
    Random random = new Random(1);
    int refused = 0;
    for (int round = 0; round < 5000; round++) {
      byte[] bytes = whole.clone();
      if (round % 4 == 0) {
        bytes = Arrays.copyOf(bytes, random.nextInt(bytes.length));
      } else if (round % 4 == 1) {
        bytes = Arrays.copyOf(bytes, bytes.length + 1 + random.nextInt(20));
      } else {
        for (int flips = 1 + random.nextInt(3); flips > 0; flips--) {
          bytes[random.nextInt(bytes.length)] ^= (byte) (1 << random.nextInt(8));
        }
      }
      Path file = Files.write(dir.resolve("damaged"), bytes);
      try {
        CheckpointFile.read(file, LAYOUT, buffers(LAYOUT), DIGEST);
      } catch (CheckpointException e) {
        refused++;
        assertThat(e.getMessage()).contains(file.toString()).doesNotContain("\n");
      }
    }
    // All that changed the length, and most flips in the header.
    assertThat(refused).isGreaterThan(4000);
  }

  @Test
  void aStateOfALaterReleaseIsRefused() {
    assertThatThrownBy(
            () ->
                RunState.fromJson(
                    STATE.toJson().replace("\"schedule\":null", "\"schedule\":{\"t\":1}")))
        .matches(e -> ((CheckpointException) e).ofAnotherRelease())
        .hasMessageContaining("'schedule', which this release cannot continue");
    assertThatThrownBy(
            () -> RunState.fromJson(STATE.toJson().replace("\"format\":1", "\"format\":2")))
        .hasMessageContaining("format 2; this release reads 1");
  }

  @Test
  void aFileOfALaterReleaseIsNotCalledDamaged() throws IOException {
    Path file = write();
    String bytes = Files.readString(file, StandardCharsets.ISO_8859_1);
    String later = bytes.replace("{\\\"format\\\":1,", "{\\\"format\\\":2,");
    assertThat(later).isNotEqualTo(bytes);
    Files.writeString(file, later, StandardCharsets.ISO_8859_1);
    assertThatThrownBy(() -> CheckpointFile.read(file, LAYOUT, buffers(LAYOUT), DIGEST))
        .hasMessageContaining(file + ": run state has format 2")
        .matches(e -> ((CheckpointException) e).ofAnotherRelease());
  }

  private void assertDamaged(byte[] bytes, String message) throws IOException {
    Path file = Files.write(dir.resolve("damaged"), bytes);
    assertThatThrownBy(() -> SafetensorsReader.open(file))
        .isInstanceOf(CheckpointException.class)
        .hasMessageContaining(message);
  }

  private Path write() throws IOException {
    Path file = dir.resolve("c.safetensors");
    CheckpointFile.write(file, LAYOUT, filled(), STATE);
    return file;
  }

  private static List<ByteBuffer> filled() {
    List<ByteBuffer> buffers = buffers(LAYOUT);
    Random random = new Random(7);
    for (ByteBuffer buffer : buffers) {
      byte[] bytes = new byte[buffer.capacity()];
      random.nextBytes(bytes);
      buffer.put(bytes).rewind();
    }
    return buffers;
  }

  private static List<ByteBuffer> buffers(List<TensorInfo> layout) {
    return layout.stream()
        .map(t -> ByteBuffer.allocateDirect((int) t.bytes()).order(ByteOrder.nativeOrder()))
        .toList();
  }
}
