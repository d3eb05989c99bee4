package dev.baton.coordinator;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.baton.coordinator.testing.SmallDisk;
import dev.baton.v1.CoordinatorMessage;
import dev.baton.v1.GetJobRequest;
import dev.baton.v1.JobSpec;
import dev.baton.v1.SubmitJobRequest;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.UUID;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** A coordinator whose disk has no byte left for its database. */
final class DiskFullTest {
  @TempDir Path temp;

  private static String submit(Running running) {
    JobSpec spec = CoordinatorTest.spec();
    return running
        .jobs()
        .submitJob(
            SubmitJobRequest.newBuilder()
                .setRequestId(UUID.randomUUID().toString())
                .setSpec(spec)
                .build())
        .getJobId();
  }

  private static void fill(Path file) throws IOException {
    try (OutputStream out = Files.newOutputStream(file)) {
      byte[] block = new byte[4096];
      while (true) {
        out.write(block);
      }
    } catch (IOException e) {
      assertThat(e).hasMessageContaining("No space left");
    }
  }

  @Test
  void whatItCannotWriteIsRefusedInOneLineAndItGoesOn() throws Exception {
    try (SmallDisk disk = SmallDisk.mount(temp.resolve("disk"), 24)) {
      try (Running running = new Running(disk.folder())) {
        List<String> acknowledged = new ArrayList<>(List.of(submit(running)));
        FakeWorker worker = FakeWorker.connect(running.as("worker"), "one");
        worker.await(CoordinatorMessage::hasWelcome);
        Path filler = disk.folder().resolve("filler");
        fill(filler);
        assertThatThrownBy(
                () -> {
                  for (int i = 0; i < 5_000; i++) {
                    acknowledged.add(submit(running));
                  }
                })
            .isInstanceOfSatisfying(
                StatusRuntimeException.class,
                e -> {
                  assertThat(e.getStatus().getCode()).isEqualTo(Status.Code.RESOURCE_EXHAUSTED);
                  assertThat(e.getStatus().getDescription())
                      .startsWith("no space left on the coordinator's disk: its database ")
                      .contains(disk.folder().toString(), "bytes are free")
                      .doesNotContain("\n");
                });
        Files.delete(filler);
        acknowledged.add(submit(running));
        for (String id : acknowledged) {
          assertThat(running.jobs().getJob(GetJobRequest.newBuilder().setJobId(id).build()).getId())
              .isEqualTo(id);
        }
      }
    }
  }
}
