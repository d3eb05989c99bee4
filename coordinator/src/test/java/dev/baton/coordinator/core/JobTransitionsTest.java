package dev.baton.coordinator.core;

import static org.assertj.core.api.Assertions.assertThat;

import com.google.protobuf.Duration;
import dev.baton.v1.JobSpec;
import dev.baton.v1.Progress;
import dev.baton.v1.Result;
import dev.baton.v1.Retries;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.EnumSet;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.Collectors;
import org.junit.jupiter.api.Test;

final class JobTransitionsTest {
  private static final Now NOW = new Now(0, 1_000_000);
  private static final Lease LEASE = new Lease(3, "lease", "worker-id", "worker");

  private static Job job(JobState state) {
    JobSpec spec =
        JobSpec.newBuilder()
            .setRetries(
                Retries.newBuilder().setMax(2).setBackoff(Duration.newBuilder().setSeconds(10)))
            .build();
    return new Job(
        "job",
        new Submission(1, "request", spec, "digest", 0),
        state,
        3,
        state.leased() ? LEASE : null,
        new Failures(0, 1, 0),
        KindHistory.NONE,
        "",
        Progress.getDefaultInstance(),
        state.ended() ? new End(1, null) : null);
  }

  private static Job next(Job job, JobEvent event) {
    Transition transition = JobTransitions.apply(job, event, NOW);
    assertThat(transition).isInstanceOf(Transition.Next.class);
    return ((Transition.Next) transition).job();
  }

  /** Variants that together take every way out of a cell. */
  private static Map<Class<? extends JobEvent>, JobEvent> events() {
    Map<Class<? extends JobEvent>, JobEvent> events = new LinkedHashMap<>();
    for (JobEvent event :
        List.of(
            new JobEvent.Granted(new Lease(4, "next", "other-id", "other"), "machine"),
            new JobEvent.Regrouped(new Lease(4, "next", "worker-id", "worker")),
            new JobEvent.Began("kind"),
            new JobEvent.Committed(Progress.newBuilder().setStep(7).build()),
            new JobEvent.Released("handed over"),
            new JobEvent.Lost("worker lost"),
            new JobEvent.Killed("killed"),
            new JobEvent.Crashed("SIGSEGV"),
            new JobEvent.Declined("every slot is taken", 5),
            new JobEvent.WorkerFailed("disk full", 5),
            new JobEvent.Failed("shape mismatch"),
            new JobEvent.Succeeded(Result.getDefaultInstance(), Progress.getDefaultInstance()),
            new JobEvent.Cancel(),
            new JobEvent.Pause(),
            new JobEvent.Resume())) {
      events.put(event.getClass(), event);
    }
    return events;
  }

  @Test
  void everyPairOfStateAndEventDoesWhatTheTableSaysAndEveryTargetIsReached() {
    assertThat(events().keySet()).isEqualTo(JobTransitions.events());
    assertThat(new HashSet<Class<?>>(JobTransitions.events()))
        .isEqualTo(Set.of(JobEvent.class.getPermittedSubclasses()));
    for (JobState state : JobState.values()) {
      events()
          .forEach(
              (type, event) -> {
                Set<JobState> reached = EnumSet.noneOf(JobState.class);
                for (Job job : List.of(job(state), worn(job(state)))) {
                  Transition transition = JobTransitions.apply(job, event, NOW);
                  if (transition instanceof Transition.Next next) {
                    reached.add(next.job().state());
                    assertThat(next.job().submission()).isEqualTo(job.submission());
                    assertThat(next.job().term()).isGreaterThanOrEqualTo(job.term());
                  } else {
                    assertThat(((Transition.Refused) transition).message())
                        .contains("job job is " + state);
                  }
                }
                assertThat(reached)
                    .as(state + " + " + type.getSimpleName())
                    .isEqualTo(JobTransitions.targets(state, type));
              });
    }
  }

  /** One failure of any sort more, and it is given up. */
  private static Job worn(Job job) {
    return job.with(new Failures(2, JobTransitions.ABRUPT_LIMIT - 1, 0));
  }

  @Test
  void whoeverHoldsNoLeaseCannotActAndAnEndedJobStaysEnded() {
    for (JobState state : JobState.values()) {
      if (!state.leased()) {
        for (Class<? extends JobEvent> ofHolder :
            List.of(
                JobEvent.Began.class,
                JobEvent.Committed.class,
                JobEvent.Released.class,
                JobEvent.Succeeded.class,
                JobEvent.Failed.class)) {
          assertThat(JobTransitions.targets(state, ofHolder)).isEmpty();
        }
      }
      if (state.ended()) {
        for (Class<? extends JobEvent> event : JobTransitions.events()) {
          assertThat(JobTransitions.targets(state, event)).isSubsetOf(Set.of(state));
        }
      }
    }
  }

  @Test
  void aCrashCostsARetryAndWaitsTwiceAsLongEachTime() {
    Job once = next(job(JobState.RUNNING), new JobEvent.Crashed("SIGSEGV"));
    assertThat(once.failures()).isEqualTo(new Failures(1, 1, 1_010_000));
    assertThat(once.reason()).isEqualTo("SIGSEGV; retry 1 of 2");

    Job twice = next(leased(once), new JobEvent.Crashed("SIGSEGV"));
    assertThat(twice.failures()).isEqualTo(new Failures(2, 1, 1_020_000));

    Job given = next(leased(twice), new JobEvent.Crashed("SIGSEGV"));
    assertThat(given.state()).isEqualTo(JobState.FAILED);
    assertThat(given.reason()).isEqualTo("SIGSEGV (after 2 retries)");
  }

  @Test
  void theWaitDoublesUpToFiveMinutes() {
    assertThat(JobTransitions.backoffMs(10_000, 1)).isEqualTo(10_000);
    assertThat(JobTransitions.backoffMs(10_000, 3)).isEqualTo(40_000);
    assertThat(JobTransitions.backoffMs(10_000, 6)).isEqualTo(300_000);
    assertThat(JobTransitions.backoffMs(10_000, 1_000_000)).isEqualTo(300_000);
    assertThat(JobTransitions.backoffMs(86_400_000, 1)).isEqualTo(300_000);
    assertThat(JobTransitions.backoffMs(0, 5)).isZero();
  }

  @Test
  void tenAbruptEndsWithoutANewCheckpointEndAJobAndACheckpointStartsTheCountAgain() {
    Job job = next(job(JobState.RUNNING), new JobEvent.Committed(Progress.getDefaultInstance()));
    List<JobEvent> ends =
        List.of(
            new JobEvent.Killed("killed"),
            new JobEvent.Lost("lost"),
            new JobEvent.WorkerFailed("disk full", 0));
    for (int i = 1; i < JobTransitions.ABRUPT_LIMIT; i++) {
      job = next(job, ends.get(i % ends.size()));
      assertThat(job.state()).isEqualTo(JobState.QUEUED);
      assertThat(job.failures()).isEqualTo(new Failures(0, i, 0));
      job = leased(job);
    }
    Job saved = next(job, new JobEvent.Committed(Progress.getDefaultInstance()));
    assertThat(saved.failures().abruptInARow()).isZero();

    for (JobEvent last :
        List.of(new JobEvent.Killed("the end"), new JobEvent.WorkerFailed("the end", 9))) {
      Job given = next(job, last);
      assertThat(given.state()).isEqualTo(JobState.FAILED);
      assertThat(given.reason())
          .isEqualTo(
              "ended abruptly or with an error of its worker 10 times in a row without a new"
                  + " checkpoint; the last time: the end");
    }
  }

  @Test
  void whatTheWorldDoesCostsNothing() {
    for (JobEvent event :
        List.of(new JobEvent.Released("drained"), new JobEvent.Declined("no GPU is free", 9))) {
      Job next = next(job(JobState.RUNNING), event);
      assertThat(next.failures().retried()).isZero();
      assertThat(next.failures().abruptInARow()).isEqualTo(1);
    }
  }

  @Test
  void aWorkersErrorCostsNoRetryAndWaits() {
    Job next = next(job(JobState.RUNNING), new JobEvent.WorkerFailed("disk full", 9));
    assertThat(next.failures()).isEqualTo(new Failures(0, 2, 9));
    assertThat(next.reason()).isEqualTo("disk full");
  }

  @Test
  void theKindIsTheFirstAttemptsAndAChangeIsRemembered() {
    Job first = next(job(JobState.RUNNING), new JobEvent.Began("cpu a"));
    assertThat(first.kind().first()).isEqualTo("cpu a");
    assertThat(next(first, new JobEvent.Began("cpu a")).kind().changed()).isFalse();
    Job changed = next(first, new JobEvent.Began("cpu b"));
    assertThat(changed.kind()).isEqualTo(new KindHistory("cpu a", "", true));
    assertThat(next(changed, new JobEvent.Began("cpu a")).kind().changed()).isTrue();
  }

  private static Job leased(Job job) {
    return next(
        job,
        new JobEvent.Granted(
            new Lease(job.term() + 1, "lease" + job.term(), "worker-id", "worker"), "machine"));
  }

  /**
   * coordinator/docs/job-states.md says what the code says; -Dbaton.docs.write=true rewrites it.
   */
  @Test
  void theDocumentIsInStepWithTheTable() throws IOException {
    Path document = Path.of("docs", "job-states.md");
    if (Boolean.getBoolean("baton.docs.write")) {
      Files.createDirectories(document.getParent());
      Files.writeString(document, markdown());
    }
    assertThat(Files.readString(document)).isEqualTo(markdown());
  }

  private static String markdown() {
    List<String> lines = new ArrayList<>();
    lines.add("# What may happen to a job");
    lines.add("");
    lines.add(
        "Kept in step with `JobTransitions` by its test (`-Dbaton.docs.write=true` rewrites it). A"
            + " dash: refused.");
    lines.add("");
    lines.add(
        "| event |"
            + List.of(JobState.values()).stream()
                .map(state -> " " + state + " |")
                .collect(Collectors.joining()));
    lines.add("|---|" + "---|".repeat(JobState.values().length));
    for (Class<? extends JobEvent> event : JobTransitions.events()) {
      StringBuilder row = new StringBuilder("| " + event.getSimpleName() + " |");
      for (JobState state : JobState.values()) {
        Set<JobState> targets = JobTransitions.targets(state, event);
        row.append(' ')
            .append(
                targets.isEmpty()
                    ? "-"
                    : targets.stream().map(Enum::name).collect(Collectors.joining(", ")))
            .append(" |");
      }
      lines.add(row.toString());
    }
    return String.join("\n", lines) + "\n";
  }
}
