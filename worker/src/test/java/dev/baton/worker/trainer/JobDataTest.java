package dev.baton.worker.trainer;

import static org.assertj.core.api.Assertions.assertThat;

import dev.baton.dataset.DatasetDigests;
import dev.baton.dataset.DatasetScanner;
import dev.baton.dataset.ProgressListener;
import dev.baton.dataset.ScannedDataset;
import dev.baton.v1.JobSpec;
import dev.baton.v1.LocalDataset;
import dev.baton.v1.Resize;
import dev.baton.v1.Run;
import dev.baton.v1.Source;
import dev.baton.v1.Transform;
import dev.baton.worker.data.SampleFormat;
import java.awt.image.BufferedImage;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import javax.imageio.ImageIO;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Where pictures are resized. */
class JobDataTest {
  @TempDir Path dir;

  /** The format of a data set whose splits have pictures of those edges, resized to 20 x 24. */
  private SampleFormat format(String device, int train, int test) throws Exception {
    Path folder = Files.createTempDirectory(dir, "pictures");
    picture(folder.resolve("train/cat"), train);
    picture(folder.resolve("test/cat"), test);
    Path staging = folder.resolve("staging");
    ScannedDataset scanned = DatasetScanner.scan(folder, null, staging, ProgressListener.NONE);
    JobSpec.Builder spec = JobSpec.newBuilder();
    spec.getDataBuilder()
        .setTrain(Source.newBuilder().setDataset("pets").setSplit("train"))
        .setEval(Source.newBuilder().setDataset("pets").setSplit("test"))
        .addTransforms(
            Transform.newBuilder().setResize(Resize.newBuilder().addSize(20).addSize(24)));
    spec.getTrainingBuilder().setBatchSize(1).setEpochs(1);
    spec.getReplicasBuilder().setShards(1);
    Run run =
        Run.newBuilder()
            .setSpec(spec)
            .setDevice(device)
            .setDecodedDir(folder.resolve("decoded").toString())
            .addDatasets(
                LocalDataset.newBuilder()
                    .setDataset(
                        scanned.dataset().toBuilder()
                            .setName("pets")
                            .setDigest(DatasetDigests.digest(scanned.dataset())))
                    .setDir(staging.toString()))
            .build();
    try (JobData data = JobData.open(run)) {
      assertThat(data.format().inputShape()).isEqualTo(List.of(1, 20, 24));
      return data.format();
    }
  }

  private static void picture(Path folder, int edge) throws Exception {
    Files.createDirectories(folder);
    ImageIO.write(
        new BufferedImage(edge, edge, BufferedImage.TYPE_BYTE_GRAY),
        "png",
        folder.resolve("a.png").toFile());
  }

  @Test
  void aGpuResizesPicturesThatGrow() throws Exception {
    assertThat(format("cuda", 9, 9).xShape()).isEqualTo(List.of(1, 9, 9));
  }

  @Test
  void theHostResizesTheOthers() throws Exception {
    List<Integer> resized = List.of(1, 20, 24);
    assertThat(format("cpu", 9, 9).xShape()).isEqualTo(resized);
    assertThat(format("cuda", 50, 50).xShape()).isEqualTo(resized);
    // The engine knows one shape for both splits.
    assertThat(format("cuda", 9, 11).xShape()).isEqualTo(resized);
    assertThat(format("cuda", 9, 50).xShape()).isEqualTo(resized);
  }
}
