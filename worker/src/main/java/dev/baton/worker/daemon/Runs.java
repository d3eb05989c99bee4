package dev.baton.worker.daemon;

import dev.baton.v1.JobSpec;
import dev.baton.v1.LeaseRef;
import dev.baton.v1.Machine;
import dev.baton.worker.lease.HeldLease;
import dev.baton.worker.process.TrainerSetting;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.function.Predicate;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/**
 * The {@link JobRun}s of a worker, in the order in which they came, and the GPUs that they use. A
 * job may have several with a lease, one for each rank that is here, and one without. Runs on the
 * loop.
 */
final class Runs {
  private final Machine machine;
  private final List<JobRun> runs = new ArrayList<>();

  /**
   * @param machine whose GPUs there are
   */
  Runs(Machine machine) {
    this.machine = machine;
  }

  void add(JobRun run) {
    runs.add(run);
  }

  void remove(JobRun run) {
    runs.remove(run);
  }

  boolean isEmpty() {
    return runs.isEmpty();
  }

  /** All, as they are now. */
  List<JobRun> all() {
    return List.copyOf(runs);
  }

  /** A job's, as they are now. */
  Stream<JobRun> of(String jobId) {
    return all().stream().filter(run -> run.jobId().equals(jobId));
  }

  Optional<JobRun> of(HeldLease lease) {
    return runs.stream().filter(run -> run.lease().map(l -> l == lease).orElse(false)).findFirst();
  }

  /** That which holds a lease. */
  Optional<JobRun> holder(LeaseRef lease) {
    return runs.stream()
        .filter(run -> run.lease().map(held -> held.ref().equals(lease)).orElse(false))
        .findFirst();
  }

  /** A job's one without a lease. */
  Optional<JobRun> preparation(String jobId) {
    return of(jobId).filter(run -> run.lease().isEmpty()).findFirst();
  }

  /** Of those with a trainer the first without a lease. */
  Optional<JobRun> oldestPreparation() {
    return runs.stream().filter(run -> run.hasTrainer() && run.lease().isEmpty()).findFirst();
  }

  /** How many have a trainer of their own, or will. */
  int trainers() {
    return (int) runs.stream().filter(JobRun::hasTrainer).count();
  }

  List<HeldLease> leases() {
    return runs.stream().flatMap(run -> run.lease().stream()).toList();
  }

  /** Whether a lease of that job is held. */
  boolean holds(String jobId) {
    return leasesOf(jobId).findAny().isPresent();
  }

  /** Whether that lease, or one of a later term of its job, is held. */
  boolean holdsAsNew(LeaseRef offered) {
    return leasesOf(offered.getJobId())
        .anyMatch(
            held ->
                held.getTerm() > offered.getTerm()
                    || (held.getTerm() == offered.getTerm()
                        && held.getRank() == offered.getRank()));
  }

  private Stream<LeaseRef> leasesOf(String jobId) {
    return leases().stream().map(HeldLease::ref).filter(ref -> ref.getJobId().equals(jobId));
  }

  /** What the first trainer is started with, for whatever job may come. */
  TrainerSetting firstSetting() {
    return new TrainerSetting(
        1, machine.getGpusCount() == 0 ? TrainerSetting.NO_GPU : machine.getGpus(0).getIndex());
  }

  /** What a job's trainer is started with; empty where it wants a GPU and none is free. */
  Optional<TrainerSetting> setting(JobSpec spec) {
    int threads = Math.max(1, spec.getResources().getCpus());
    boolean wantsGpu =
        spec.getResources().hasGpus()
            ? spec.getResources().getGpus() > 0
            : machine.getGpusCount() > 0;
    if (!wantsGpu) {
      return Optional.of(new TrainerSetting(threads, TrainerSetting.NO_GPU));
    }
    // One that no other trainer uses, or one that only a preparation does.
    return freeGpu(gpus(JobRun::hasTrainer))
        .or(() -> freeGpu(gpus(run -> run.lease().isPresent())))
        .map(index -> new TrainerSetting(threads, index));
  }

  /** Whether no lease uses the GPU of a preparation. */
  boolean hasItsGpu(JobRun preparation) {
    int gpu = preparation.setting().gpu();
    return gpu == TrainerSetting.NO_GPU || !gpus(run -> run.lease().isPresent()).contains(gpu);
  }

  private Optional<Integer> freeGpu(Set<Integer> taken) {
    return machine.getGpusList().stream()
        .map(gpu -> gpu.getIndex())
        .filter(index -> !taken.contains(index))
        .findFirst();
  }

  private Set<Integer> gpus(Predicate<JobRun> which) {
    return runs.stream()
        .filter(which)
        .map(run -> run.setting().gpu())
        .collect(Collectors.toUnmodifiableSet());
  }
}
