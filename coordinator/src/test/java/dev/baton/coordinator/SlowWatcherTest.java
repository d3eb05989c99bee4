package dev.baton.coordinator;

import static org.assertj.core.api.Assertions.assertThat;

import dev.baton.v1.AttemptOutcome;
import dev.baton.v1.BeginAttemptRequest;
import dev.baton.v1.CoordinatorMessage;
import dev.baton.v1.FinishAttemptRequest;
import dev.baton.v1.JobEvent;
import dev.baton.v1.JobRequest;
import dev.baton.v1.JobServiceGrpc;
import dev.baton.v1.JobState;
import dev.baton.v1.LeaseRef;
import dev.baton.v1.Progress;
import dev.baton.v1.ProgressReport;
import dev.baton.v1.Result;
import dev.baton.v1.SubmitJobRequest;
import dev.baton.v1.WorkerMessage;
import io.grpc.stub.ClientCallStreamObserver;
import io.grpc.stub.ClientResponseObserver;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.TimeUnit;
import java.util.function.BooleanSupplier;
import java.util.stream.LongStream;
import org.awaitility.Awaitility;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Over a real connection: one who watches and does not read, beside one who does. */
final class SlowWatcherTest {
  private static final int STEPS = 4_000;
  // Makes an event some 2 KB: a connection's buffers hold far fewer than there are steps.
  private static final String PHASE = "x".repeat(2_000);

  @TempDir Path temp;

  private static final class Reader implements ClientResponseObserver<JobRequest, JobEvent> {
    final List<JobEvent> got = new CopyOnWriteArrayList<>();
    final CompletableFuture<Boolean> end = new CompletableFuture<>();
    private final int first;
    private final CompletableFuture<ClientCallStreamObserver<JobRequest>> call =
        new CompletableFuture<>();

    /**
     * @param first how many events it takes before {@link #readOn}
     */
    Reader(int first) {
      this.first = first;
    }

    @Override
    public void beforeStart(ClientCallStreamObserver<JobRequest> stream) {
      stream.disableAutoRequestWithInitial(first);
      call.complete(stream);
    }

    void readOn() {
      call.join().request(Integer.MAX_VALUE);
    }

    @Override
    public void onNext(JobEvent event) {
      got.add(event);
    }

    @Override
    public void onError(Throwable thrown) {
      end.completeExceptionally(thrown);
    }

    @Override
    public void onCompleted() {
      end.complete(true);
    }

    List<Long> steps() {
      return got.stream().filter(JobEvent::hasStep).map(JobEvent::getStep).toList();
    }
  }

  private static void await(BooleanSupplier condition) {
    Awaitility.await()
        .pollInterval(Duration.ofMillis(1))
        .atMost(Duration.ofSeconds(60))
        .until(condition::getAsBoolean);
  }

  @Test
  void missesStepsAndNeitherHoldsUpNorMissesAnythingElse() throws Exception {
    try (Running running = new Running(temp.resolve("data"))) {
      FakeWorker worker = FakeWorker.connect(running.as("worker"), "one");
      worker.await(CoordinatorMessage::hasWelcome);
      JobRequest job =
          JobRequest.newBuilder()
              .setJobId(
                  running
                      .jobs()
                      .submitJob(
                          SubmitJobRequest.newBuilder()
                              .setRequestId("request")
                              .setSpec(CoordinatorTest.spec())
                              .build())
                      .getJobId())
              .build();
      LeaseRef lease = worker.offer().getLease();
      var unusedBegun =
          running.workers().beginAttempt(BeginAttemptRequest.newBuilder().setLease(lease).build());
      Reader slow = new Reader(1);
      Reader quick = new Reader(Integer.MAX_VALUE);
      JobServiceGrpc.newStub(running.as("user")).watchJob(job, slow);
      JobServiceGrpc.newStub(running.as("user")).watchJob(job, quick);
      await(() -> !slow.got.isEmpty() && !quick.got.isEmpty());

      for (long step = 1; step <= STEPS; step++) {
        worker.send(
            WorkerMessage.newBuilder()
                .setProgress(
                    ProgressReport.newBuilder()
                        .setLease(lease)
                        .setProgress(Progress.newBuilder().setStep(step).setPhase(PHASE)))
                .build());
        // No more on their way than a stream that is read takes without a pause.
        if (step % 4 == 0) {
          long sent = step;
          worker.heartbeat(lease);
          await(() -> quick.got.get(quick.got.size() - 1).getStep() == sent);
        }
      }
      assertThat(quick.steps())
          .containsExactlyElementsOf(LongStream.rangeClosed(1, STEPS).boxed().toList());
      assertThat(slow.got).hasSize(1);

      var unusedFinished =
          running
              .workers()
              .finishAttempt(
                  FinishAttemptRequest.newBuilder()
                      .setLease(lease)
                      .setOutcome(AttemptOutcome.ATTEMPT_OUTCOME_SUCCEEDED)
                      .setLastStep(STEPS)
                      .setResult(Result.newBuilder().setWeightsSha256("abc"))
                      .build());
      slow.readOn();
      assertThat(slow.end.get(60, TimeUnit.SECONDS)).isTrue();
      assertThat(quick.end.get(60, TimeUnit.SECONDS)).isTrue();
      assertThat(slow.steps()).hasSizeLessThan(STEPS / 2).isSorted();
      assertThat(slow.got.get(slow.got.size() - 1).getState())
          .isEqualTo(JobState.JOB_STATE_SUCCEEDED);
    }
  }
}
