package dev.baton.coordinator.core;

import static dev.baton.coordinator.core.CoordinatorException.invalid;

import dev.baton.v1.JobSpec;
import dev.baton.v1.OrderKind;
import java.util.Optional;
import java.util.random.RandomGenerator;
import org.jspecify.annotations.Nullable;

/** What users do with their jobs. */
final class JobWrites {
  private final CoreState state;
  private final Leases leases;
  private final Standbys standbys;
  private final Gangs gangs;
  private final RandomGenerator random;
  private final JobSpecs specs;

  JobWrites(
      CoreState state, Leases leases, Standbys standbys, Gangs gangs, RandomGenerator random) {
    this.state = state;
    this.leases = leases;
    this.standbys = standbys;
    this.gangs = gangs;
    this.random = random;
    this.specs =
        new JobSpecs(name -> state.stores.datasets().find(name).map(DatasetRecord::dataset));
  }

  /** As {@link Scheduler#submit}. */
  String submit(String requestId, JobSpec spec, Now now) {
    if (requestId.isEmpty() || requestId.length() > 100) {
      throw invalid("request_id: it must be a random UUID");
    }
    JobSpec complete;
    try {
      complete = specs.complete(spec);
    } catch (CoordinatorException e) {
      // What was accepted once stays accepted, whatever became of its data since.
      Optional<Job> first = state.jobs.findByRequest(requestId);
      if (first.isPresent()) {
        return first.get().id();
      }
      throw e;
    }
    Job job =
        Job.submitted(
            Ids.job(random),
            new Submission(
                state.lastSeq + 1, requestId, complete, JobSpecs.digest(complete), now.epochMs()));
    if (!state.jobs.insert(job)) {
      return state.jobs.findByRequest(requestId).orElseThrow().id();
    }
    state.lastSeq++;
    state.countDatasets(job, 1);
    leases.enqueue(job, "", now);
    state.outbox.notify(job, "state", "submitted", now);
    return job.id();
  }

  /** Its user has a job cancelled, paused or resumed. */
  void change(String jobId, JobEvent event, Now now) {
    @Nullable Running held = state.running.get(jobId);
    Job job = held != null ? held.job : state.find(jobId);
    Job next = JobTransitions.next(job, event, now);
    if (next.equals(job)) {
      return;
    }
    if (held == null) {
      changeUnleased(job, next, now);
    } else if (next.state().leased()) {
      changeLeased(held, next, now);
    } else {
      if (held.group == null) {
        state.order(held, held.first(), OrderKind.ORDER_KIND_CANCEL, next.reason());
      }
      leases.endLease(held, next, next.reason(), now);
    }
  }

  private void changeUnleased(Job job, Job next, Now now) {
    state.write(next, job.fence());
    state.waiting.remove(job.id());
    if (next.state() == JobState.QUEUED) {
      leases.enqueue(next, "", now);
    }
    leases.settle(next, now);
  }

  private void changeLeased(Running held, Job next, Now now) {
    if (next.state() == JobState.PAUSING && held.available) {
      // Its lease has ended, and nobody is there to hand it over.
      Job paused = JobTransitions.next(next, new JobEvent.Released("paused"), now);
      leases.endLease(held, paused, held.endReason(), now);
      return;
    }
    state.write(next, held.job.fence());
    held.job = next;
    if (next.state() == JobState.PAUSING) {
      standbys.unprepare(next.id());
      gangs.handsOver(held, now);
      state.order(held, held.first(), OrderKind.ORDER_KIND_HAND_OVER, "paused");
    }
    state.outbox.notify(next, "message", next.reason().isEmpty() ? "resumed" : next.reason(), now);
  }
}
