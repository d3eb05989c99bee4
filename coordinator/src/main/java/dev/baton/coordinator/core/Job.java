package dev.baton.coordinator.core;

import dev.baton.v1.JobSpec;
import dev.baton.v1.Progress;
import org.jspecify.annotations.Nullable;

/**
 * A job as it is stored.
 *
 * @param term of the newest lease that was ever granted; 0: none was
 * @param lease the one that stands: present exactly while the state is {@link JobState#leased}
 * @param reason for people, one line: why it ended, is paused, or was queued again; may be empty
 * @param progress as of the last commit
 * @param end present exactly once the job has ended
 */
public record Job(
    String id,
    Submission submission,
    JobState state,
    long term,
    @Nullable Lease lease,
    Failures failures,
    KindHistory kind,
    String reason,
    Progress progress,
    @Nullable End end) {

  public Job {
    if (state.leased() != (lease != null) || state.ended() != (end != null)) {
      throw new IllegalArgumentException(
          "job " + id + ": state " + state + " with lease " + lease + " and end " + end);
    }
    if (lease != null && lease.term() != term) {
      throw new IllegalArgumentException("job " + id + ": term " + term + " with lease " + lease);
    }
  }

  /** A job that was just submitted. */
  public static Job submitted(String id, Submission submission) {
    return new Job(
        id,
        submission,
        JobState.QUEUED,
        0,
        null,
        Failures.NONE,
        KindHistory.NONE,
        "",
        Progress.getDefaultInstance(),
        null);
  }

  /** The spec with its defaults filled in. */
  public JobSpec spec() {
    return submission.spec();
  }

  /** What a conditional write must find unchanged. */
  public Fence fence() {
    Lease current = lease;
    return new Fence(id, term, current == null ? "" : current.leaseId());
  }

  Job with(JobState state, @Nullable Lease lease, String reason) {
    long newTerm = lease == null ? term : lease.term();
    return new Job(id, submission, state, newTerm, lease, failures, kind, reason, progress, end);
  }

  Job with(Failures failures) {
    return new Job(id, submission, state, term, lease, failures, kind, reason, progress, end);
  }

  Job with(KindHistory kind) {
    return new Job(id, submission, state, term, lease, failures, kind, reason, progress, end);
  }

  Job with(Progress progress) {
    return new Job(id, submission, state, term, lease, failures, kind, reason, progress, end);
  }

  Job ended(JobState state, String reason, End end) {
    return new Job(id, submission, state, term, null, failures, kind, reason, progress, end);
  }
}
