package dev.baton.coordinator.core;

import dev.baton.v1.JobSpec;
import dev.baton.v1.Machine;
import dev.baton.v1.Resources;
import java.util.Locale;
import java.util.Optional;

/**
 * What a job needs of a worker for each of its replicas, and how many it may have. Jobs with equal
 * ones wait in one lane.
 *
 * @param gpus -1: one where the worker has one, else its CPUs
 * @param kind the machine's kind that the job must have again; empty: any
 */
record Requirements(
    int gpus, int cpus, long memory, String kind, int minReplicas, int maxReplicas) {

  private static final String LIBTORCH = " libtorch ";

  static Requirements of(Job job) {
    JobSpec spec = job.spec();
    Resources resources = spec.getResources();
    return new Requirements(
        resources.hasGpus() ? resources.getGpus() : -1,
        resources.getCpus(),
        resources.getMemory(),
        resources.getSameKind() ? job.kind().machine() : "",
        Math.max(1, spec.getReplicas().getMin()),
        Math.max(1, spec.getReplicas().getMax()));
  }

  /** Whether the job may have more than one replica. */
  boolean gang() {
    return maxReplicas > 1;
  }

  /** How many GPUs the job would use on this machine. */
  int gpusOn(Machine machine) {
    return gpus >= 0 ? gpus : Math.min(1, machine.getGpusCount());
  }

  /**
   * What the core can see of the kind that a job would run on: two machines of which this differs
   * differ in kind for certain.
   */
  String kindOn(Machine machine) {
    return (gpusOn(machine) > 0 ? "cuda " + machine.getGpus(0).getModel() : machine.getCpuModel())
        + LIBTORCH
        + machine.getLibtorch();
  }

  /** Whether two kinds are one, as far as is known: a worker's libtorch may not be yet. */
  static boolean mayBeSame(String a, String b) {
    return a.equals(b)
        || (a.endsWith(LIBTORCH) && b.startsWith(a))
        || (b.endsWith(LIBTORCH) && a.startsWith(b));
  }

  /** What the whole machine lacks, in words; empty where an idle one would do. */
  Optional<String> lackedBy(Machine machine) {
    if (gpus > machine.getGpusCount()) {
      return Optional.of("needs a GPU, it has none");
    }
    if (cpus > machine.getCpus()) {
      return Optional.of("needs " + cpus + " CPUs, it has " + machine.getCpus());
    }
    if (memory > machine.getMemoryBytes()) {
      return Optional.of(
          "needs " + gib(memory) + " of memory, it has " + gib(machine.getMemoryBytes()));
    }
    if (!kind.isEmpty() && !mayBeSame(kind, kindOn(machine))) {
      return Optional.of("wants the same kind, " + kind + "; it is " + kindOn(machine));
    }
    return Optional.empty();
  }

  private static String gib(long bytes) {
    return String.format(Locale.ROOT, "%.2fGi", bytes / (double) (1L << 30));
  }
}
