package dev.baton.coordinator.core;

import static dev.baton.coordinator.core.JobState.CANCELLED;
import static dev.baton.coordinator.core.JobState.FAILED;
import static dev.baton.coordinator.core.JobState.PAUSED;
import static dev.baton.coordinator.core.JobState.PAUSING;
import static dev.baton.coordinator.core.JobState.QUEUED;
import static dev.baton.coordinator.core.JobState.RUNNING;
import static dev.baton.coordinator.core.JobState.SUCCEEDED;

import java.util.EnumMap;
import java.util.EnumSet;
import java.util.LinkedHashMap;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * The table of what may happen to a job. Pure: no clock, no I/O. What is not in the table is
 * refused.
 */
public final class JobTransitions {

  /**
   * Abrupt ends and errors of workers in a row, without a new checkpoint, after which a job is
   * given up.
   */
  public static final int ABRUPT_LIMIT = 10;

  /** The longest wait before a retry. */
  public static final long MAX_BACKOFF_MS = 300_000;

  private static final Map<Class<? extends JobEvent>, Map<JobState, Rule<?>>> TABLE = table();

  private JobTransitions() {}

  /**
   * One cell of the table.
   *
   * @param to every state that may follow
   * @param step null where the event is refused
   */
  private record Rule<E extends JobEvent>(Set<JobState> to, @Nullable Step<E> step) {}

  private interface Step<E extends JobEvent> {
    Job next(Job job, E event, Now now);
  }

  /** What becomes of a job when this happens to it. */
  public static Transition apply(Job job, JobEvent event, Now now) {
    return apply(job, rule(job.state(), event.getClass()), event, now);
  }

  @SuppressWarnings("unchecked") // The table pairs each event's class with rules for it alone.
  private static <E extends JobEvent> Transition apply(
      Job job, Rule<E> rule, JobEvent event, Now now) {
    if (rule.step() == null) {
      return new Transition.Refused(refusal(job, event));
    }
    Job next = rule.step().next(job, (E) event, now);
    if (!rule.to().contains(next.state())) {
      throw new IllegalStateException(
          "job " + job.id() + ": " + event + " took " + job.state() + " to " + next.state());
    }
    return new Transition.Next(next);
  }

  /**
   * What a job becomes.
   *
   * @throws CoordinatorException FAILED_PRECONDITION where its state refuses the event
   */
  static Job next(Job job, JobEvent event, Now now) {
    Transition transition = apply(job, event, now);
    if (transition instanceof Transition.Next next) {
      return next.job();
    }
    throw CoordinatorException.precondition(((Transition.Refused) transition).message());
  }

  /** The states that may follow; empty where the event is refused. */
  static Set<JobState> targets(JobState from, Class<? extends JobEvent> event) {
    return rule(from, event).to();
  }

  /** Every event there is, in the table's order. */
  static Set<Class<? extends JobEvent>> events() {
    return TABLE.keySet();
  }

  private static Rule<?> rule(JobState from, Class<? extends JobEvent> event) {
    Map<JobState, Rule<?>> row = TABLE.get(event);
    Rule<?> rule = row == null ? null : row.get(from);
    if (rule == null) {
      throw new IllegalStateException("no rule for " + event.getSimpleName() + " in " + from);
    }
    return rule;
  }

  private static String refusal(Job job, JobEvent event) {
    String what = event.getClass().getSimpleName().toLowerCase(Locale.ROOT);
    return "job " + job.id() + " is " + job.state() + ": " + what + " is not possible";
  }

  private static Map<Class<? extends JobEvent>, Map<JobState, Rule<?>>> table() {
    Table table = new Table();
    table.on(JobEvent.Granted.class).from(QUEUED, JobTransitions::grant, RUNNING).otherwise();
    table.on(JobEvent.Regrouped.class).leased(JobTransitions::regroup, RUNNING);
    table.on(JobEvent.Began.class).leased(JobTransitions::begin, RUNNING);
    table.on(JobEvent.Committed.class).leased(JobTransitions::commit, RUNNING);
    table
        .on(JobEvent.Released.class)
        .leased((job, event, now) -> unlease(job, event.reason()), QUEUED);
    table
        .on(JobEvent.Lost.class)
        .leased((job, event, now) -> abrupt(job, event.reason(), now), QUEUED, FAILED);
    table
        .on(JobEvent.Killed.class)
        .leased((job, event, now) -> abrupt(job, event.message(), now), QUEUED, FAILED);
    table
        .on(JobEvent.Crashed.class)
        .leased((job, event, now) -> retry(job, event.message(), now), QUEUED, FAILED);
    table.on(JobEvent.Declined.class).leased(JobTransitions::decline, QUEUED);
    table.on(JobEvent.WorkerFailed.class).leased(JobTransitions::workerFailed, QUEUED, FAILED);
    table
        .on(JobEvent.Failed.class)
        .leased((job, event, now) -> fail(job, event.message(), now), FAILED);
    table.on(JobEvent.Succeeded.class).leased(JobTransitions::succeed, SUCCEEDED);
    table
        .on(JobEvent.Cancel.class)
        .from(QUEUED, JobTransitions::cancel, CANCELLED)
        .from(RUNNING, JobTransitions::cancel, CANCELLED)
        .from(PAUSING, JobTransitions::cancel, CANCELLED)
        .from(PAUSED, JobTransitions::cancel, CANCELLED)
        .from(CANCELLED, (job, event, now) -> job, CANCELLED)
        .otherwise();
    table
        .on(JobEvent.Pause.class)
        .from(QUEUED, (job, event, now) -> job.with(PAUSED, null, "paused"), PAUSED)
        .from(
            RUNNING,
            (job, event, now) -> job.with(PAUSING, job.lease(), "is being paused"),
            PAUSING)
        .from(PAUSING, (job, event, now) -> job, PAUSING)
        .from(PAUSED, (job, event, now) -> job, PAUSED)
        .otherwise();
    table
        .on(JobEvent.Resume.class)
        .from(QUEUED, (job, event, now) -> job, QUEUED)
        .from(RUNNING, (job, event, now) -> job, RUNNING)
        .from(PAUSING, (job, event, now) -> job.with(RUNNING, job.lease(), ""), RUNNING)
        .from(PAUSED, (job, event, now) -> job.with(QUEUED, null, ""), QUEUED)
        .otherwise();
    return table.checked();
  }

  private static void checkNext(Job job, Lease lease) {
    if (lease.term() != job.term() + 1) {
      throw new IllegalStateException(
          "job " + job.id() + " at term " + job.term() + " was granted " + lease);
    }
  }

  private static Job regroup(Job job, JobEvent.Regrouped event, Now now) {
    checkNext(job, event.lease());
    return job.with(job.state(), event.lease(), job.reason());
  }

  private static Job grant(Job job, JobEvent.Granted event, Now now) {
    checkNext(job, event.lease());
    Failures failures = job.failures();
    KindHistory kind = job.kind();
    return job.with(RUNNING, event.lease(), "")
        .with(new Failures(failures.retried(), failures.abruptInARow(), 0))
        .with(
            kind.machine().isEmpty()
                ? new KindHistory(kind.first(), event.machine(), kind.changed())
                : kind);
  }

  private static Job begin(Job job, JobEvent.Began event, Now now) {
    KindHistory kind = job.kind();
    String first = kind.first().isEmpty() ? event.kind() : kind.first();
    return job.with(
        new KindHistory(first, kind.machine(), kind.changed() || !first.equals(event.kind())));
  }

  private static Job commit(Job job, JobEvent.Committed event, Now now) {
    Failures failures = job.failures();
    return job.with(event.progress())
        .with(new Failures(failures.retried(), 0, failures.notBeforeMs()));
  }

  /** The state that follows when a lease has ended and the job goes on. */
  private static Job unlease(Job job, String reason) {
    return job.with(job.state() == PAUSING ? PAUSED : QUEUED, null, reason);
  }

  private static Job abrupt(Job job, String message, Now now) {
    Failures failures = job.failures();
    int inARow = failures.abruptInARow() + 1;
    Job counted = job.with(new Failures(failures.retried(), inARow, failures.notBeforeMs()));
    if (inARow >= ABRUPT_LIMIT) {
      return fail(
          counted,
          "ended abruptly or with an error of its worker "
              + inARow
              + " times in a row without a new checkpoint; the last time: "
              + message,
          now);
    }
    return unlease(counted, message);
  }

  private static Job retry(Job job, String message, Now now) {
    Failures failures = job.failures();
    int max = job.spec().getRetries().getMax();
    if (failures.retried() >= max) {
      return fail(
          job,
          max == 0 ? message : message + " (after " + max + (max == 1 ? " retry)" : " retries)"),
          now);
    }
    int retried = failures.retried() + 1;
    long wait = backoffMs(JobSpecs.millis(job.spec().getRetries().getBackoff()), retried);
    return unlease(
        job.with(new Failures(retried, failures.abruptInARow(), now.epochMs() + wait)),
        message + "; retry " + retried + " of " + max);
  }

  /** The wait before the nth try, doubled each time. */
  static long backoffMs(long firstMs, int n) {
    long wait = Math.min(firstMs, MAX_BACKOFF_MS);
    for (int i = 1; i < n && wait < MAX_BACKOFF_MS; i++) {
      wait *= 2;
    }
    return Math.min(wait, MAX_BACKOFF_MS);
  }

  private static Job decline(Job job, JobEvent.Declined event, Now now) {
    return unlease(notBefore(job, event.notBeforeMs()), event.message());
  }

  private static Job workerFailed(Job job, JobEvent.WorkerFailed event, Now now) {
    return abrupt(notBefore(job, event.notBeforeMs()), event.message(), now);
  }

  private static Job notBefore(Job job, long notBeforeMs) {
    Failures failures = job.failures();
    return job.with(new Failures(failures.retried(), failures.abruptInARow(), notBeforeMs));
  }

  private static Job fail(Job job, String message, Now now) {
    return job.ended(FAILED, message, new End(now.epochMs(), null));
  }

  private static Job succeed(Job job, JobEvent.Succeeded event, Now now) {
    return job.with(event.progress()).ended(SUCCEEDED, "", new End(now.epochMs(), event.result()));
  }

  private static Job cancel(Job job, JobEvent.Cancel event, Now now) {
    return job.ended(CANCELLED, "cancelled", new End(now.epochMs(), null));
  }

  /** Builds the table, and refuses to leave a cell of it open. */
  private static final class Table {
    private final Map<Class<? extends JobEvent>, Map<JobState, Rule<?>>> rows =
        new LinkedHashMap<>();

    <E extends JobEvent> Row<E> on(Class<E> event) {
      Map<JobState, Rule<?>> row = new EnumMap<>(JobState.class);
      rows.put(event, row);
      return new Row<>(row);
    }

    Map<Class<? extends JobEvent>, Map<JobState, Rule<?>>> checked() {
      for (Class<?> event : JobEvent.class.getPermittedSubclasses()) {
        Map<JobState, Rule<?>> row = rows.get(event);
        if (row == null || row.size() != JobState.values().length) {
          throw new IllegalStateException("the table has no whole row for " + event);
        }
      }
      return rows;
    }
  }

  private record Row<E extends JobEvent>(Map<JobState, Rule<?>> cells) {
    Row<E> from(JobState from, Step<E> step, JobState first, JobState... more) {
      cells.put(from, new Rule<>(EnumSet.of(first, more), step));
      return this;
    }

    /**
     * What happens under a lease alone: to a running job, with what may follow, and in the same way
     * to one that is being paused, which stays so, and is paused where the other is queued.
     */
    void leased(Step<E> step, JobState first, JobState... more) {
      Set<JobState> paused = EnumSet.noneOf(JobState.class);
      for (JobState to : EnumSet.of(first, more)) {
        paused.add(to == RUNNING ? PAUSING : to == QUEUED ? PAUSED : to);
      }
      from(RUNNING, step, first, more);
      cells.put(PAUSING, new Rule<>(paused, step));
      otherwise();
    }

    /** Refused in every other state. */
    void otherwise() {
      for (JobState state : JobState.values()) {
        cells.putIfAbsent(state, new Rule<E>(Set.of(), null));
      }
    }
  }
}
