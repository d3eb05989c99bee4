package dev.baton.client.command;

import dev.baton.client.output.JobJson;
import dev.baton.client.output.JsonObject;
import dev.baton.client.output.Table;
import dev.baton.client.output.Terminal.Size;
import dev.baton.client.output.Units;
import dev.baton.v1.Job;
import dev.baton.v1.JobState;
import dev.baton.v1.Machine;
import dev.baton.v1.Progress;
import dev.baton.v1.WorkerInfo;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;

/**
 * Workers and jobs at one moment, as {@code baton top} shows them.
 *
 * @param timeMs when that was, since the epoch
 * @param jobs those that matter most first
 */
record TopView(long timeMs, List<WorkerInfo> workers, List<Job> jobs) {
  // A line for the whole, an empty one and a header for each table.
  private static final int FRAME = 5;

  JsonObject json() {
    return new JsonObject()
        .put("time", timeMs)
        .put("workers", workers.stream().map(Workers::json).toList())
        .put("jobs", jobs.stream().map(JobJson::of).toList());
  }

  /** Every line, however long. */
  List<String> lines(String coordinator) {
    return lines(coordinator, workers.size(), jobs.size());
  }

  /**
   * As many lines as fit, none wider than the screen. Where there is too little room, workers get
   * at most a half of it, jobs the rest.
   *
   * @param coordinator what to call it, in the first line
   */
  List<String> fitting(String coordinator, Size size) {
    int room = Math.max(2, size.rows() - FRAME);
    int shownWorkers = Math.min(workers.size(), Math.max(room / 2, room - jobs.size()));
    int shownJobs = Math.min(jobs.size(), room - shownWorkers);
    return lines(coordinator, shownWorkers, shownJobs).stream()
        .limit(size.rows())
        .map(line -> line.length() <= size.columns() ? line : line.substring(0, size.columns()))
        .toList();
  }

  private List<String> lines(String coordinator, int shownWorkers, int shownJobs) {
    List<String> lines = new ArrayList<>();
    lines.add(Units.time(timeMs) + "  " + coordinator + "  " + summary());
    lines.add(notShown(workers.size() - shownWorkers, jobs.size() - shownJobs));
    Table table = new Table("WORKER", "STATE", "SLOTS", "CPUS", "MEMORY", "GPUS", "UP", "JOBS");
    workers.stream().limit(shownWorkers).forEach(worker -> addTo(table, worker));
    lines.addAll(table.toString().lines().toList());
    lines.add("");
    Table running =
        new Table("JOB", "NAME", "STATE", "STEP", "LOSS", "SAMPLES/S", "ETA", "WORKERS");
    jobs.stream().limit(shownJobs).forEach(job -> addTo(running, job));
    lines.addAll(running.toString().lines().toList());
    return lines;
  }

  private static String notShown(int leftWorkers, int leftJobs) {
    return leftWorkers + leftJobs == 0
        ? ""
        : "(no room for " + leftWorkers + " more workers and " + leftJobs + " more jobs)";
  }

  private String summary() {
    int slots = workers.stream().mapToInt(WorkerInfo::getSlots).sum();
    int used = workers.stream().mapToInt(WorkerInfo::getJobsCount).sum();
    return String.format(
        Locale.ROOT,
        "workers: %d, slots used: %d/%d  jobs: %d running, %d queued, %d paused",
        workers.size(),
        used,
        slots,
        count(JobState.JOB_STATE_RUNNING),
        count(JobState.JOB_STATE_QUEUED),
        count(JobState.JOB_STATE_PAUSED));
  }

  private long count(JobState state) {
    return jobs.stream().filter(job -> job.getState() == state).count();
  }

  private void addTo(Table table, WorkerInfo worker) {
    Machine machine = worker.getMachine();
    table.row(
        worker.getName(),
        worker.getState(),
        worker.getJobsCount() + "/" + worker.getSlots(),
        machine.getCpus(),
        Units.bytes(machine.getMemoryBytes()),
        Workers.gpus(machine),
        Units.age(worker.getConnectedAtMs(), timeMs),
        worker.getJobsCount() == 0 ? "-" : String.join(",", worker.getJobsList()));
  }

  private static void addTo(Table table, Job job) {
    Progress progress = job.getProgress();
    boolean runs = job.getState() == JobState.JOB_STATE_RUNNING;
    table.row(
        job.getId(),
        job.getSpec().getName(),
        JobJson.state(job.getState()),
        Jobs.step(progress),
        Jobs.loss(progress),
        runs && progress.getSamplesPerSecond() > 0
            ? String.format(Locale.ROOT, "%.0f", progress.getSamplesPerSecond())
            : "-",
        runs && progress.hasEtaSeconds() ? Units.duration(progress.getEtaSeconds()) : "-",
        runs ? Jobs.workers(job) : job.getReason().isEmpty() ? "-" : "(" + job.getReason() + ")");
  }
}
