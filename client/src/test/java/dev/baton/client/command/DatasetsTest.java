package dev.baton.client.command;

import static dev.baton.client.testing.Samples.keys;
import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import dev.baton.client.output.Terminal.Screen;
import dev.baton.client.testing.Harness;
import dev.baton.client.testing.Harness.Outcome;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.zip.GZIPOutputStream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** {@code baton dataset}. */
class DatasetsTest {
  @TempDir Path dir;
  private Harness baton;

  @BeforeEach
  void start() {
    baton = new Harness(dir);
  }

  @AfterEach
  void stop() {
    baton.close();
  }

  private Path idx() throws IOException {
    Path folder = Files.createDirectories(dir.resolve("digits"));
    for (String split : List.of("train", "t10k")) {
      byte[] images = new byte[16 + 3 * 4];
      images[2] = 8;
      images[3] = 3;
      images[7] = 3;
      images[11] = 2;
      images[15] = 2;
      byte[] labels = {0, 0, 8, 1, 0, 0, 0, 3, 0, 1, 2};
      gzip(folder.resolve(split + "-images-idx3-ubyte.gz"), images);
      gzip(folder.resolve(split + "-labels-idx1-ubyte.gz"), labels);
    }
    return folder;
  }

  private static void gzip(Path file, byte[] content) throws IOException {
    try (OutputStream out = new GZIPOutputStream(Files.newOutputStream(file))) {
      out.write(content);
    }
  }

  @Test
  void pushAndLookAtADataset() throws IOException {
    Outcome pushed = baton.run("dataset", "push", "digits", idx().toString(), "--format", "idx");
    assertThat(pushed.err()).isEmpty();
    assertThat(pushed.code()).isZero();
    assertThat(pushed.out()).matches("digits@[0-9a-f]{64}\n");
    assertThat(baton.coordinator.commits).hasSize(1);
    var commit = baton.coordinator.commits.get(0);
    assertThat(commit.getDataset().getFilesCount())
        .isEqualTo(4)
        .isEqualTo(commit.getUploadsCount());
    for (int i = 0; i < 4; i++) {
      assertThat(commit.getUploads(i).getEtags(0))
          .isEqualTo("etag-" + commit.getDataset().getFiles(i).getSha256());
    }
    assertThat(baton.transfer.objects).isNotEmpty();

    JsonNode shown = baton.run("dataset", "show", "digits", "-o", "json").json();
    assertThat(keys(shown))
        .containsExactly(
            "name", "digest", "format", "bytes", "splits", "class_names", "files", "created_at");
    assertThat(pushed.out()).isEqualTo("digits@" + shown.get("digest").asText() + "\n");
    assertThat(shown.at("/splits/0").toString())
        .isEqualTo("{\"name\":\"train\",\"samples\":3,\"shape\":[1,2,2],\"classes\":3}");
    assertThat(baton.run("dataset", "show", "digits").out())
        .contains("Format:  idx\n")
        .contains("train        3  1x2x2        3\n");
    assertThat(baton.run("dataset", "ls", "-o", "json").json()).hasSize(1);
    assertThat(baton.run("dataset", "ls").out()).contains("digits  idx     train: 3, test: 3");

    assertThat(baton.run("dataset", "push", "digits", idx().toString())).isEqualTo(pushed);
    assertThat(baton.coordinator.commits).hasSize(1);
    Files.delete(dir.resolve("digits/train-labels-idx1-ubyte.gz"));
    gzip(
        dir.resolve("digits/train-labels-idx1-ubyte.gz"),
        new byte[] {0, 0, 8, 1, 0, 0, 0, 3, 1, 1, 1});
    Outcome other = baton.run("dataset", "push", "digits", dir.resolve("digits").toString());
    assertThat(other.code()).isEqualTo(1);
    assertThat(other.err()).startsWith("error: a data set digits exists with other content");

    assertThat(baton.run("dataset", "rm", "digits")).isEqualTo(new Outcome(0, "", ""));
    assertThat(baton.run("dataset", "rm", "digits").code()).isEqualTo(1);
    assertThat(baton.run("dataset", "ls", "-o", "json").out()).isEqualTo("[]\n");
  }

  @Test
  void anInterruptedPushGoesOnWithTheSameUploads() throws IOException {
    Path folder = idx();
    baton.transfer.breakUpload = true;
    Outcome broken = baton.run("dataset", "push", "digits", folder.toString());
    assertThat(broken.code()).isEqualTo(1);
    assertThat(broken.err()).matches("error: sending .*: connection reset\n");
    assertThat(baton.run("dataset", "push", "digits", folder.toString()).code()).isZero();
    assertThat(baton.coordinator.uploads.get(1).getUploadId())
        .isEqualTo(baton.coordinator.uploads.get(0).getUploadId());
    baton.coordinator.datasets.clear();
    int before = baton.coordinator.uploads.size();
    baton.run("dataset", "push", "digits", folder.toString());
    assertThat(baton.coordinator.uploads.get(before).getUploadId())
        .isNotEqualTo(baton.coordinator.uploads.get(0).getUploadId());
  }

  @Test
  void badDatasets() throws IOException {
    assertThat(baton.run("dataset", "push", "Digits", idx().toString()).err())
        .startsWith("error: 'Digits' cannot be a data set's name; expected [a-z0-9._-]{1,63}");
    Outcome missing = baton.run("dataset", "push", "digits", dir.resolve("none").toString());
    assertThat(missing.code()).isEqualTo(2);
    assertThat(missing.err()).contains("none").hasLineCount(1);
    Outcome format = baton.run("dataset", "push", "digits", idx().toString(), "--format", "idy");
    assertThat(format.code()).isEqualTo(2);
    assertThat(format.err()).contains("idy").contains("image-folder").hasLineCount(1);
    // A link to nowhere.
    Path folder = Files.createDirectory(dir.resolve("state"));
    Path state = Files.createSymbolicLink(folder.resolve("baton"), dir.resolve("nowhere"));
    baton.environment.put("XDG_STATE_HOME", folder.toString());
    assertThat(baton.run("dataset", "push", "digits", idx().toString()).err())
        .isEqualTo("error: " + state + ": exists already\n");
    assertThat(baton.coordinator.uploads).isEmpty();
  }

  @Test
  void progressOnATerminal() throws IOException {
    baton.screen = new Screen(true, true, 60);
    Outcome pushed = baton.run("dataset", "push", "digits", idx().toString());
    assertThat(pushed.out()).matches("digits@[0-9a-f]{64}\n");
    assertThat(pushed.err())
        .contains("\rtrain-images-idx3-ubyte.gz [########################] 100 %")
        .endsWith("\r\u001b[K");
    assertThat(pushed.err().split("\r")).allMatch(line -> line.length() < 60 + 3);
  }
}
