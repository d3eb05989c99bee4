package dev.baton.worker.daemon;

import static dev.baton.worker.daemon.TestWorker.steps;
import static dev.baton.worker.testing.Eventually.await;
import static dev.baton.worker.testing.FakeTrainer.job;
import static dev.baton.worker.testing.FakeTrainer.weights;
import static org.assertj.core.api.Assertions.assertThat;

import dev.baton.v1.Assignment;
import dev.baton.v1.BeginAttemptRequest;
import dev.baton.v1.Checkpoint;
import dev.baton.v1.CommitCheckpointRequest;
import dev.baton.v1.DamagedCheckpoint;
import dev.baton.v1.FinishAttemptRequest;
import dev.baton.v1.LeaseRef;
import dev.baton.v1.OrderKind;
import dev.baton.worker.testing.FakeCoordinator;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/** What a whole worker, with processes for trainers, does with checkpoints. */
@Timeout(120)
class CheckpointsTest {
  @TempDir Path dir;
  private TestWorker worker;
  private FakeCoordinator coordinator;

  @BeforeEach
  void start() throws Exception {
    worker = new TestWorker(dir, 1);
    coordinator = worker.coordinator;
  }

  @AfterEach
  void stop() throws Exception {
    worker.close();
  }

  @Test
  void aPreparedJobGoesAtOnceWithItsCheckpoint() {
    worker.handedOverOnce("j", job("finish", 2_000, 2, 0, 0), 5);
    Assignment rest = coordinator.assignment("j", job("finish", 2_000, 2, 0, 0));
    coordinator.prepare(rest);
    await("prepared", worker::prepared);
    LeaseRef lease = coordinator.offer(rest);
    await("it goes on", () -> coordinator.copy(coordinator.begun).size() == 2);
    assertThat(coordinator.copy(coordinator.begun).get(1).getResumedStep())
        .isEqualTo(coordinator.committedStep());
    assertThat(coordinator.copy(coordinator.begun).get(1).getCheckpointId())
        .isEqualTo(rest.getCheckpoints(0).getCheckpointId());
    // Once, in the preparation.
    assertThat(coordinator.store.downloads()).isEqualTo(1);
    coordinator.order(lease, OrderKind.ORDER_KIND_CANCEL, "");
    await("idle", worker::idle);
  }

  @Test
  void aNewerCheckpointThanThePreparedOneIsPreparedAnew() {
    String name = job("finish", 2_000, 2, 0, 0);
    worker.handedOverOnce("j", name, 5);
    coordinator.prepare(coordinator.assignment("j", name).toBuilder().clearCheckpoints().build());
    await("prepared", worker::prepared);
    LeaseRef lease = coordinator.offer(coordinator.assignment("j", name));
    await("begun", () -> coordinator.copy(coordinator.begun).size() == 2);
    assertThat(coordinator.copy(coordinator.begun).get(1).getResumedStep())
        .isEqualTo(coordinator.committedStep())
        .isPositive();
    coordinator.order(lease, OrderKind.ORDER_KIND_CANCEL, "");
  }

  @Test
  void aCheckpointThatCannotBeStoredIsFollowedByAnother() {
    coordinator.loseUploads(3);
    LeaseRef lease = coordinator.offer(coordinator.assignment("j", job("finish", 99_999, 5, 0, 0)));
    await("trains", () -> worker.reportedStep() > 3);
    coordinator.order(lease, OrderKind.ORDER_KIND_CHECKPOINT_NOW, "");
    await("the next is stored", () -> !coordinator.copy(coordinator.commits).isEmpty());
    assertThat(coordinator.lossSteps())
        .isEqualTo(steps(coordinator.copy(coordinator.commits).get(0).getStep()));
  }

  @Test
  void aNewerSnapshotReplacesOneThatWaits() {
    coordinator.store.hold(true);
    LeaseRef lease = coordinator.offer(coordinator.assignment("j", job("finish", 9_999, 2, 0, 10)));
    await("trains", () -> worker.reportedStep() >= 80);
    coordinator.store.hold(false);
    await("two commits", () -> coordinator.copy(coordinator.commits).size() >= 2);
    List<CommitCheckpointRequest> commits = coordinator.copy(coordinator.commits);
    assertThat(commits.get(0).getStep()).isEqualTo(10);
    assertThat(commits.get(1).getStep()).isGreaterThanOrEqualTo(70);
    assertThat(commits.get(1).getPointsCount()).isEqualTo((int) commits.get(1).getStep() - 10);
    coordinator.order(lease, OrderKind.ORDER_KIND_CANCEL, "");
    await("idle", worker::idle);
  }

  @Test
  void checkpointNowCommitsAndGoesOn() {
    LeaseRef lease = coordinator.offer(coordinator.assignment("j", job("finish", 9_999, 2, 0, 0)));
    await("trains", () -> worker.reportedStep() >= 3);
    coordinator.order(lease, OrderKind.ORDER_KIND_CHECKPOINT_NOW, "");
    await("committed", () -> coordinator.committedStep() > 0);
    await("goes on", () -> worker.reportedStep() > coordinator.committedStep());
    assertThat(coordinator.stands(lease)).isTrue();
  }

  @Test
  void aDamagedCheckpointIsSkippedForItsPredecessor() {
    String name = job("finish", 1_500, 2, 0, 0);
    long older = twoCheckpoints("j", name);
    Assignment rest = coordinator.assignment("j", name);
    Checkpoint newest = rest.getCheckpoints(0);
    coordinator.store.damage(coordinator.key(newest));
    coordinator.offer(rest);
    assertThat(worker.finished(1).getResult().getWeightsSha256()).isEqualTo(weights(1_500));
    assertThat(coordinator.copy(coordinator.begun).get(2).getResumedStep()).isEqualTo(older);
    assertThat(coordinator.copy(coordinator.begun).get(2).getDamagedList())
        .extracting(DamagedCheckpoint::getCheckpointId)
        .containsExactly(newest.getCheckpointId());
    assertThat(coordinator.lossSteps()).isEqualTo(steps(1_500));
  }

  @Test
  void aCheckpointThatCannotBeRestoredIsSkippedInTheSameTerm() {
    String name = job("finish", 1_500, 2, 0, 0);
    long older = twoCheckpoints("j", name);
    Checkpoint newest = coordinator.assignment("j", name).getCheckpoints(0);
    coordinator.replace(newest, "not what the job's model needs");
    LeaseRef lease = coordinator.offer(coordinator.assignment("j", name));
    FinishAttemptRequest end = worker.finished(1);
    assertThat(end.getLease()).isEqualTo(lease);
    assertThat(end.getResult().getWeightsSha256()).isEqualTo(weights(1_500));
    BeginAttemptRequest begun = coordinator.copy(coordinator.begun).get(2);
    assertThat(begun.getResumedStep()).isEqualTo(older);
    assertThat(begun.getDamagedList())
        .singleElement()
        .satisfies(
            d -> {
              assertThat(d.getCheckpointId()).isEqualTo(newest.getCheckpointId());
              assertThat(d.getReason())
                  .isEqualTo(
                      "checkpoint-%d.safetensors lacks tensor 'weight' of this job's model"
                          .formatted(newest.getStep()));
            });
    assertThat(coordinator.lossSteps()).isEqualTo(steps(1_500));
    assertThat(coordinator.log(lease.getTerm())).startsWith("threads 1\n").endsWith("done\n");
    await(
        "nothing stays behind",
        () -> worker.entries("attempts") == 0 && worker.entries("trainers") == 1);
  }

  @Test
  void aCheckpointOfAnotherStepCannotBeRestoredEither() {
    String name = job("finish", 1_500, 2, 0, 0);
    long older = twoCheckpoints("j", name);
    Checkpoint newest = coordinator.assignment("j", name).getCheckpoints(0);
    coordinator.replace(newest, "7777 1");
    coordinator.offer(coordinator.assignment("j", name));
    assertThat(worker.finished(1).getResult().getWeightsSha256()).isEqualTo(weights(1_500));
    BeginAttemptRequest begun = coordinator.copy(coordinator.begun).get(2);
    assertThat(begun.getResumedStep()).isEqualTo(older);
    assertThat(begun.getDamaged(0).getReason())
        .isEqualTo("it holds the state of step 7777, not of step " + newest.getStep());
  }

  @Test
  void whereNoCheckpointCanBeRestoredAPreparedJobStartsFromTheBeginning() {
    String name = job("finish", 1_500, 2, 0, 0);
    twoCheckpoints("j", name);
    List<Checkpoint> both = coordinator.assignment("j", name).getCheckpointsList();
    both.forEach(c -> coordinator.replace(c, "not what the job's model needs"));
    // Without a lease the same happens, and is told when there is one.
    coordinator.prepare(coordinator.assignment("j", name));
    await("prepared", worker::prepared);
    coordinator.offer(coordinator.assignment("j", name));
    assertThat(worker.finished(1).getResult().getWeightsSha256()).isEqualTo(weights(1_500));
    BeginAttemptRequest begun = coordinator.copy(coordinator.begun).get(2);
    assertThat(begun.getResumedStep()).isZero();
    assertThat(begun.getCheckpointId()).isEmpty();
    assertThat(begun.getDamagedList())
        .extracting(DamagedCheckpoint::getCheckpointId)
        .containsExactlyElementsOf(both.stream().map(Checkpoint::getCheckpointId).toList());
    assertThat(coordinator.lossSteps()).isEqualTo(steps(1_500));
  }

  // Trains and hands over twice; the step of the older checkpoint.
  private long twoCheckpoints(String id, String name) {
    worker.handedOverOnce(id, name, 5);
    long older = coordinator.committedStep();
    worker.handedOverOnce(id, name, older + 5);
    return older;
  }
}
