package dev.baton.worker.daemon;

import static dev.baton.worker.testing.Eventually.await;
import static dev.baton.worker.testing.FakeTrainer.job;
import static dev.baton.worker.testing.FakeTrainer.weights;
import static org.assertj.core.api.Assertions.assertThat;

import dev.baton.v1.Assignment;
import dev.baton.v1.AttemptOutcome;
import dev.baton.v1.Dataset;
import dev.baton.v1.DatasetFile;
import dev.baton.v1.FinishAttemptRequest;
import dev.baton.v1.LeaseRef;
import dev.baton.v1.OrderKind;
import dev.baton.worker.testing.FakeCoordinator;
import dev.baton.worker.testing.SmallDisk;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/**
 * The worker's disk has no room: what needs some is given back unstarted with one line that says
 * what to do, and what runs goes on. Skipped for who may not mount a file system.
 */
@Timeout(120)
class FullDiskTest {
  private static final String NO_SPACE = "no space left on this worker's disk for ";
  // More than a page of the trainer's log.
  private static final long MANY_LINES = 700;

  @TempDir Path dir;

  @Test
  void aDataSetThatDoesNotFitIsNotFetched() throws Exception {
    try (SmallDisk disk = SmallDisk.at(dir.resolve("disk"), 4);
        TestWorker worker = new TestWorker(disk.dir(), 1)) {
      FakeCoordinator coordinator = worker.coordinator;
      byte[] content = new byte[100_000];
      coordinator.store.put("train.bin", content);
      Assignment assignment =
          coordinator.assignment("j", job("finish", 20, 2, 0, 0)).toBuilder()
              .addDatasets(
                  Dataset.newBuilder()
                      .setName("digits")
                      .setDigest("ab".repeat(32))
                      .addFiles(
                          DatasetFile.newBuilder().setPath("train.bin").setBytes(content.length)))
              .build();
      disk.fill();
      LeaseRef unused = coordinator.offer(assignment);
      FinishAttemptRequest back = worker.finished(1);
      assertThat(back.getOutcome()).isEqualTo(AttemptOutcome.ATTEMPT_OUTCOME_RELEASED);
      assertThat(back.getMessage())
          .startsWith(NO_SPACE + "data set 'digits' (100000 bytes): " + disk.dir())
          .contains("make room there")
          .doesNotContain("\n");
      assertThat(coordinator.store.downloads()).isZero();
      assertThat(coordinator.copy(coordinator.begun)).isEmpty();

      disk.empty();
      unused = coordinator.offer(assignment);
      assertThat(worker.finished(2).getResult().getWeightsSha256()).isEqualTo(weights(20));
    }
  }

  @Test
  void aCheckpointThatDoesNotFitIsNotTakenForDamaged() throws Exception {
    try (SmallDisk disk = SmallDisk.at(dir.resolve("disk"), 4);
        TestWorker worker = new TestWorker(disk.dir(), 1)) {
      FakeCoordinator coordinator = worker.coordinator;
      String name = job("finish", 300, 2, 0, 0);
      LeaseRef first = coordinator.offer(coordinator.assignment("j", name));
      await("trains", () -> worker.reportedStep() >= 5);
      coordinator.order(first, OrderKind.ORDER_KIND_HAND_OVER, "");
      await("released", () -> !coordinator.stands(first));
      // What it leaves would make room.
      await("cleaned", () -> worker.entries("attempts") == 0 && worker.entries("trainers") == 1);

      disk.fill();
      LeaseRef unused = coordinator.offer(coordinator.assignment("j", name));
      FinishAttemptRequest back = worker.finished(1);
      assertThat(back.getOutcome()).isEqualTo(AttemptOutcome.ATTEMPT_OUTCOME_RELEASED);
      assertThat(back.getMessage())
          .startsWith(NO_SPACE + "the checkpoint of step " + coordinator.committedStep());

      disk.empty();
      unused = coordinator.offer(coordinator.assignment("j", name));
      assertThat(worker.finished(2).getResult().getWeightsSha256()).isEqualTo(weights(300));
      assertThat(coordinator.copy(coordinator.begun).get(1).getDamagedList()).isEmpty();
    }
  }

  @Test
  void theLogSaysWhereItHasAGap() throws Exception {
    try (SmallDisk disk = SmallDisk.at(dir.resolve("disk"), 4);
        TestWorker worker = new TestWorker(disk.dir(), 1)) {
      FakeCoordinator coordinator = worker.coordinator;
      LeaseRef lease =
          coordinator.offer(coordinator.assignment("j", job("finish", 99_999, 2, 0, 0)));
      await("trains", () -> worker.reportedStep() >= 5);
      disk.fill();
      long full = worker.reportedStep();
      await("trains on", () -> worker.reportedStep() >= full + MANY_LINES);
      disk.empty();
      long emptied = worker.reportedStep();
      await("trains on", () -> worker.reportedStep() >= emptied + 5);
      coordinator.order(lease, OrderKind.ORDER_KIND_HAND_OVER, "");
      await("released", () -> !coordinator.stands(lease));
      List<String> lines = coordinator.log(lease.getTerm()).lines().toList();
      int gap = lines.indexOf("[output is missing here: the worker could not write it]");
      assertThat(gap).isPositive();
      assertThat(lines)
          .contains("step " + full / 2)
          .endsWith("step " + coordinator.committedStep());
      assertThat(lines.subList(gap + 1, lines.size())).allMatch(line -> line.startsWith("step "));
    }
  }
}
