package dev.baton.coordinator.core;

import static org.assertj.core.api.Assertions.assertThat;

import com.google.protobuf.ByteString;
import dev.baton.v1.AppendLogRequest;
import dev.baton.v1.AttemptOutcome;
import dev.baton.v1.BeginAttemptRequest;
import dev.baton.v1.CompletedUpload;
import dev.baton.v1.CoordinatorMessage;
import dev.baton.v1.CreateDownloadRequest;
import dev.baton.v1.FinishAttemptRequest;
import dev.baton.v1.Hello;
import dev.baton.v1.JobSpec;
import dev.baton.v1.LeaseRef;
import dev.baton.v1.Machine;
import dev.baton.v1.NewArtifact;
import dev.baton.v1.Progress;
import dev.baton.v1.ProgressReport;
import dev.baton.v1.Resources;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;

/** What a worker stores and reads under its lease. */
final class AttemptWritesTest extends CoreByHand {

  // ---- Kinds

  @Test
  void exactIsFalseOnceTheKindChanged() {
    String job = submit();
    hello("a", 1);
    LeaseRef lease = offered("a");
    begin(lease, 0, "");
    String checkpoint = upload(lease);
    commit(lease, checkpoint, 2, true);
    LeaseRef next = offered("a");
    tell(
        s ->
            s.beginAttempt(
                BeginAttemptRequest.newBuilder()
                    .setLease(next)
                    .setResumedStep(2)
                    .setCheckpointId(checkpoint)
                    .setKind("another cpu")
                    .build(),
                now()));
    finish(next, AttemptOutcome.ATTEMPT_OUTCOME_SUCCEEDED, "");
    assertThat(view(job).getResult().getExact()).isFalse();
  }

  @Test
  void sameKindWaitsForTheMachineItBeganOn() {
    String job = submit(spec().setResources(spec().getResourcesBuilder().setSameKind(true)));
    hello("a", 1);
    LeaseRef lease = offered("a");
    begin(lease, 0, "");
    hello("other", 1, machine().toBuilder().setCpuModel("another").build());
    broken("a", 1);
    advance(20_000);
    assertThat(offers("other")).isEmpty();
    assertThat(view(job).getReason()).contains("wants the same kind, cpu libtorch 2.10");
    hello("c", 1);
    assertThat(offered("c").getTerm()).isEqualTo(2);
  }

  @Test
  void gpusLeftOutMeansOneWhereTheWorkerHasOne() {
    Machine gpu =
        machine().toBuilder()
            .setCpus(8)
            .addGpus(dev.baton.v1.Gpu.newBuilder().setModel("T4"))
            .build();
    tell(
        s ->
            s.openSession(
                Hello.newBuilder()
                    .setWorkerId("g")
                    .setName("g")
                    .setSession(1)
                    .setSlots(4)
                    .setProtocol(1)
                    .setMachine(gpu)
                    .build(),
                now()));
    JobSpec.Builder any =
        spec().setResources(Resources.newBuilder().setCpus(1).setMemory(1L << 30));
    submit(any);
    submit(any);
    assertThat(offers("g")).hasSize(1); // Its one GPU is taken.
    submit(spec());
    assertThat(offers("g")).hasSize(2);
  }

  // ---- Progress, logs, downloads

  @Test
  void progressIsToldOnceForEachStep() {
    String job = submit();
    hello("a", 1);
    LeaseRef lease = offered("a");
    begin(lease, 0, "");
    effects.clear();
    for (long step : new long[] {1, 3, 3, 2}) {
      tell(
          s ->
              s.progress(
                  "a",
                  1,
                  ProgressReport.newBuilder()
                      .setLease(lease)
                      .setFirstStep(1)
                      .setProgress(Progress.newBuilder().setStep(step).setLoss(0.5))
                      .build(),
                  now()));
    }
    List<Long> steps = new ArrayList<>();
    for (Effect effect : effects) {
      if (effect instanceof Effect.Notify n && n.event().hasStep()) {
        steps.add(n.event().getStep());
      }
    }
    assertThat(steps).containsExactly(1L, 3L);
    assertThat(view(job).getProgress().getStep()).isEqualTo(3);
    assertThat(view(job).getProgress().getTotalSteps()).isEqualTo(10);
    assertThat(view(job).getAttempts(0).getLastStep()).isEqualTo(3);
  }

  @Test
  void aJobWhoseWorkerCannotStoreSaysSoUntilItCan() {
    hello("a", 1);
    String job = submit();
    LeaseRef lease = offered("a");
    begin(lease, 0, "");
    effects.clear();
    for (int i = 0; i < 3; i++) {
      tell(s -> s.storageRefused(lease, "the disk is full", now()));
    }
    assertThat(view(job).getState()).isEqualTo(dev.baton.v1.JobState.JOB_STATE_RUNNING);
    assertThat(view(job).getReason()).contains("cannot store").endsWith(": the disk is full");
    assertThat(effects)
        .filteredOn(e -> e instanceof Effect.Notify)
        .singleElement()
        .asString()
        .contains("the disk is full");
    commit(lease, upload(lease), 5, false);
    assertThat(view(job).getReason()).isEmpty();
    tell(s -> s.storageRefused(lease.toBuilder().setTerm(7).build(), "of another term", now()));
    assertThat(view(job).getReason()).isEmpty();
  }

  @Test
  void logPiecesAreStoredOnceInOrder() {
    String job = submit();
    hello("a", 1);
    LeaseRef lease = offered("a");
    assertThat(log(lease, 0, "hello ")).isEqualTo(6);
    assertThat(log(lease, 0, "hello ")).isEqualTo(6);
    assertThat(log(lease, 3, "lo world")).isEqualTo(11);
    assertThat(log(lease, 50, "gap")).isEqualTo(11);
    begin(lease, 0, "");
    finish(lease, AttemptOutcome.ATTEMPT_OUTCOME_KILLED, "killed");
    assertThat(log(offered("a"), 0, " again")).isEqualTo(6);
    assertThat(database.stores().logs().read(job, 0, 100).toStringUtf8())
        .isEqualTo("hello world again");
    assertThat(effects).contains(new Effect.LogGrew(job, 17));
  }

  private long log(LeaseRef lease, long offset, String text) {
    return ask(
        s ->
            s.appendLog(
                AppendLogRequest.newBuilder()
                    .setLease(lease)
                    .setOffset(offset)
                    .setData(ByteString.copyFromUtf8(text))
                    .build(),
                now()));
  }

  // ---- Uploads

  @Test
  void anUploadThatExpiredIsSentAgain() {
    String job = submit();
    hello("a", 1);
    LeaseRef lease = offered("a");
    begin(lease, 0, "");
    String id = upload(lease);
    tell(s -> database.stores().uploads().setState(id, Upload.State.EXPIRED));
    assertSentAgain(lease, id);
    assertRefused(
        CoordinatorException.Kind.FAILED_PRECONDITION,
        () -> ask(s -> s.createUpload(uploadRequest(lease, id), now())));
    tell(s -> database.stores().uploads().delete(id));
    assertSentAgain(lease, id);
    assertThat(ask(s -> s.createUpload(uploadRequest(lease, id), now())).state())
        .isEqualTo(Upload.State.OPEN);
    commit(lease, id, 3, false);
    assertThat(view(job).getCheckpointsList()).hasSize(1);
  }

  private void assertSentAgain(LeaseRef lease, String id) {
    assertRefused(
        CoordinatorException.Kind.FAILED_PRECONDITION, () -> ask(s -> s.uploadOf(lease, id)));
    assertRefused(CoordinatorException.Kind.FAILED_PRECONDITION, () -> commit(lease, id, 3, false));
    assertRefused(CoordinatorException.Kind.FAILED_PRECONDITION, () -> succeed(lease, id));
    assertThat(view(lease.getJobId()).getCheckpointsList()).isEmpty();
    assertThat(database.stores().jobs().artifacts(lease.getJobId())).isEmpty();
  }

  private void succeed(LeaseRef lease, String upload) {
    tell(
        s ->
            s.finishAttempt(
                FinishAttemptRequest.newBuilder()
                    .setLease(lease)
                    .setOutcome(AttemptOutcome.ATTEMPT_OUTCOME_SUCCEEDED)
                    .addArtifacts(
                        NewArtifact.newBuilder()
                            .setName("model.pt")
                            .setUpload(CompletedUpload.newBuilder().setUploadId(upload)))
                    .build(),
                now()));
  }

  @Test
  void anArtifactIsAnUploadThatNothingElseRefersTo() {
    String job = submit(spec().setCheckpoint(spec().getCheckpointBuilder().setKeep(1)));
    hello("a", 1);
    LeaseRef lease = offered("a");
    begin(lease, 0, "");
    String first = upload(lease);
    commit(lease, first, 3, false);
    assertRefused(CoordinatorException.Kind.FAILED_PRECONDITION, () -> succeed(lease, first));
    commit(lease, upload(lease), 4, false);
    assertRefused(CoordinatorException.Kind.FAILED_PRECONDITION, () -> succeed(lease, first));
    assertThat(commit(lease, first, 3, false)).isEqualTo(first);
    succeed(lease, upload(lease));
    assertThat(database.stores().jobs().artifact(job, "model.pt")).isPresent();
  }

  @Test
  void onlyWhoHoldsOrPreparesAJobMayReadItsCheckpoints() {
    String job = submit();
    hello("a", 1);
    LeaseRef lease = offered("a");
    begin(lease, 0, "");
    String checkpoint = upload(lease);
    commit(lease, checkpoint, 4, false);
    CreateDownloadRequest request =
        CreateDownloadRequest.newBuilder()
            .setWorkerId("b")
            .setJobId(job)
            .setCheckpointId(checkpoint)
            .build();
    assertRefused(CoordinatorException.Kind.PERMISSION_DENIED, () -> ask(s -> s.download(request)));
    hello("b", 1);
    assertRefused(CoordinatorException.Kind.PERMISSION_DENIED, () -> ask(s -> s.download(request)));
    beat("a", 1, lease);
    assertThat(preparations("b")).isNotEmpty();
    assertThat(ask(s -> s.download(request)).objectKey()).startsWith("jobs/" + job + "/1/");
  }

  @Test
  void aStandbyThatGetsAnotherJobIsRelievedAndReplaced() {
    submit();
    hello("a", 1);
    LeaseRef lease = offered("a");
    hello("b", 1);
    begin(lease, 0, "");
    beat("a", 1, lease);
    submit();
    assertThat(offers("b")).hasSize(1);
    assertThat(sent("b").stream().filter(CoordinatorMessage::hasUnprepare)).hasSize(1);
    hello("c", 1);
    beat("a", 1, lease);
    assertThat(preparations("c")).hasSize(1);
  }

  @Test
  void aHundredThousandJobsInTheQueueMakeNoEventSlow() {
    JobSpec spec = spec().build();
    tell(
        s -> {
          for (int i = 0; i < 100_000; i++) {
            s.submit("many-" + i, spec, now());
          }
        });
    effects.clear();
    long began = System.nanoTime();
    for (int i = 0; i < 1_000; i++) {
      hello("w" + i, 1);
      beat("w" + i, 1, offered("w" + i));
      effects.clear();
    }
    advance(1_000);
    // Walking the queue on each of these events would take minutes.
    assertThat(System.nanoTime() - began).isLessThan(20_000_000_000L);
    assertThat(ask(Scheduler::workers)).hasSize(1_000);
  }
}
