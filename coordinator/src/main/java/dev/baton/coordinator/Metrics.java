package dev.baton.coordinator;

import dev.baton.coordinator.core.JobState;
import dev.baton.coordinator.loop.LoopStats;
import dev.baton.coordinator.web.PrometheusText;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Locale;
import java.util.Map;
import java.util.TreeMap;
import java.util.function.IntSupplier;
import java.util.function.Supplier;

/** What {@code /metrics} says. */
final class Metrics {
  private final LoopStats stats;
  private final Supplier<Map<JobState, Long>> jobCounts;
  private final IntSupplier sessions;

  Metrics(LoopStats stats, Supplier<Map<JobState, Long>> jobCounts, IntSupplier sessions) {
    this.stats = stats;
    this.jobCounts = jobCounts;
    this.sessions = sessions;
  }

  String text() {
    Map<String, Long> jobs = new TreeMap<>();
    jobCounts
        .get()
        .forEach((state, count) -> jobs.put(state.name().toLowerCase(Locale.ROOT), count));
    for (JobState state : JobState.values()) {
      jobs.putIfAbsent(state.name().toLowerCase(Locale.ROOT), 0L);
    }
    Runtime runtime = Runtime.getRuntime();
    return new PrometheusText()
        .gauges("baton_jobs", "Jobs by state.", "state", jobs)
        .gauge("baton_workers", "Workers with an open session.", sessions.getAsInt())
        .counter(
            "baton_commits_total",
            "Groups of commands that were committed.",
            (double) stats.groups())
        .counter("baton_commands_total", "Commands in them.", (double) stats.commands())
        .gauge("baton_group_size_max", "The most commands in one group.", stats.largest())
        .gauge(
            "baton_heap_bytes",
            "Heap in use.",
            (double) runtime.totalMemory() - runtime.freeMemory())
        .gauge("baton_resident_bytes", "Resident memory of the process.", (double) residentBytes())
        .toString();
  }

  /** 0 where the system does not say. */
  private static long residentBytes() {
    try {
      for (String line : Files.readAllLines(Path.of("/proc/self/status"))) {
        if (line.startsWith("VmRSS:")) {
          return Long.parseLong(line.replaceAll("[^0-9]", "")) * 1024;
        }
      }
    } catch (IOException e) {
      return 0;
    }
    return 0;
  }
}
