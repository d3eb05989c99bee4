package dev.baton.worker.daemon;

import dev.baton.transfer.DigestMismatchException;
import dev.baton.transfer.ObjectTransfer;
import dev.baton.transfer.TransferListener;
import dev.baton.v1.Assignment;
import dev.baton.v1.Checkpoint;
import dev.baton.v1.CreateDownloadRequest;
import dev.baton.v1.DamagedCheckpoint;
import dev.baton.v1.Dataset;
import dev.baton.v1.DatasetFileRef;
import dev.baton.v1.LocalDataset;
import dev.baton.worker.cache.DatasetCache;
import dev.baton.worker.cache.LocalDisk;
import dev.baton.worker.cache.NoRoomException;
import dev.baton.worker.lease.Coordinator;
import dev.baton.worker.lease.CoordinatorException;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** Brings here what a job needs before it can start. Any thread may call it. */
final class Stager {
  private static final Logger log = LoggerFactory.getLogger(Stager.class);

  private static final int TRIES = 6;
  private static final long FIRST_WAIT_MILLIS = 100;

  /**
   * What is here.
   *
   * @param checkpoint what to start from; empty for the beginning
   * @param checkpointFile its verified file
   * @param damaged newer ones, which are not whole
   */
  record Staged(
      List<LocalDataset> datasets,
      Optional<Checkpoint> checkpoint,
      Optional<Path> checkpointFile,
      List<DamagedCheckpoint> damaged) {}

  @FunctionalInterface
  private interface Attempt {
    void run() throws IOException, InterruptedException;
  }

  private final Coordinator coordinator;
  private final ObjectTransfer transfer;
  private final DatasetCache cache;
  private final String workerId;

  Stager(Coordinator coordinator, ObjectTransfer transfer, DatasetCache cache, String workerId) {
    this.coordinator = coordinator;
    this.transfer = transfer;
    this.cache = cache;
    this.workerId = workerId;
  }

  /**
   * Stages data sets, and unless the assignment says {@code stage_only} or {@code joins} the newest
   * checkpoint that is whole. Whoever gets a result releases its data sets with {@link #release}.
   *
   * @param damaged checkpoints that are known not to be usable
   * @throws IOException where something cannot be had, after some tries; nothing is held then
   */
  Staged stage(Assignment assignment, Path dir, List<DamagedCheckpoint> damaged)
      throws IOException, InterruptedException {
    List<LocalDataset> datasets = new ArrayList<>();
    boolean staged = false;
    try {
      for (Dataset dataset : assignment.getDatasetsList()) {
        Path at =
            cache.acquire(
                dataset,
                (of, file, target) ->
                    fetch(
                        CreateDownloadRequest.newBuilder()
                            .setWorkerId(workerId)
                            .setJobId(assignment.getJobId())
                            .setDatasetFile(
                                DatasetFileRef.newBuilder()
                                    .setDigest(of.getDigest())
                                    .setPath(file.getPath()))
                            .build(),
                        target));
        datasets.add(LocalDataset.newBuilder().setDataset(dataset).setDir(at.toString()).build());
      }
      Staged result =
          assignment.getStageOnly() || assignment.getJoins()
              ? new Staged(datasets, Optional.empty(), Optional.empty(), List.of())
              : withCheckpoint(assignment, dir, datasets, new ArrayList<>(damaged));
      staged = true;
      return result;
    } finally {
      if (!staged) {
        release(datasets);
      }
    }
  }

  void release(List<LocalDataset> datasets) {
    datasets.forEach(d -> cache.release(d.getDataset().getDigest()));
  }

  /** Where trainers share what they decoded. */
  Path decodedDir() {
    return cache.decodedDir();
  }

  /**
   * What is known to be damaged once the checkpoint that was staged has proved unusable, although
   * its bytes are those that were committed.
   */
  static List<DamagedCheckpoint> unusable(String jobId, Staged staged, String reason) {
    List<DamagedCheckpoint> damaged = new ArrayList<>(staged.damaged());
    staged.checkpoint().ifPresent(checkpoint -> skip(jobId, checkpoint, reason, damaged));
    return damaged;
  }

  private Staged withCheckpoint(
      Assignment assignment, Path dir, List<LocalDataset> datasets, List<DamagedCheckpoint> damaged)
      throws IOException, InterruptedException {
    for (Checkpoint checkpoint : assignment.getCheckpointsList()) {
      Path file = dir.resolve("checkpoint-" + checkpoint.getStep() + ".safetensors");
      if (damaged.stream()
          .anyMatch(d -> d.getCheckpointId().equals(checkpoint.getCheckpointId()))) {
        Files.deleteIfExists(file);
        continue;
      }
      try {
        fetch(
            CreateDownloadRequest.newBuilder()
                .setWorkerId(workerId)
                .setJobId(assignment.getJobId())
                .setCheckpointId(checkpoint.getCheckpointId())
                .build(),
            file);
        return new Staged(datasets, Optional.of(checkpoint), Optional.of(file), damaged);
      } catch (DigestMismatchException e) {
        skip(assignment.getJobId(), checkpoint, String.valueOf(e.getMessage()), damaged);
      } catch (CoordinatorException e) {
        if (e.kind() != CoordinatorException.Kind.NOT_FOUND) {
          throw e;
        }
        skip(assignment.getJobId(), checkpoint, "it is gone: " + e.getMessage(), damaged);
      } catch (IOException e) {
        if (LocalDisk.isFull(e)) {
          String what =
              "the checkpoint of step %d (%d bytes)"
                  .formatted(checkpoint.getStep(), checkpoint.getBytes());
          throw new NoRoomException(LocalDisk.full(what, dir), e);
        }
        throw e;
      }
    }
    if (!damaged.isEmpty()) {
      log.error(
          "job {}: NO CHECKPOINT IS LEFT; going back to the beginning", assignment.getJobId());
    }
    return new Staged(datasets, Optional.empty(), Optional.empty(), damaged);
  }

  private static void skip(
      String jobId, Checkpoint checkpoint, String reason, List<DamagedCheckpoint> damaged) {
    log.error(
        "job {}: THE CHECKPOINT OF STEP {} IS DAMAGED ({}); going back to the one before it",
        jobId,
        checkpoint.getStep(),
        reason);
    damaged.add(
        DamagedCheckpoint.newBuilder()
            .setCheckpointId(checkpoint.getCheckpointId())
            .setReason(reason)
            .build());
  }

  private void fetch(CreateDownloadRequest request, Path target)
      throws IOException, InterruptedException {
    Path parent = target.getParent();
    if (parent != null) {
      Files.createDirectories(parent);
    }
    again(
        () ->
            transfer.download(
                () -> coordinator.createDownload(request), target, TransferListener.NONE));
  }

  // What does not fit now fits no better a second later.
  private static boolean isUseless(IOException e) {
    return LocalDisk.isFull(e)
        || (e instanceof CoordinatorException refusal
            && refusal.kind() != CoordinatorException.Kind.TRY_AGAIN);
  }

  // Bounded, since no lease's end bounds it while there is none.
  private static void again(Attempt attempt) throws IOException, InterruptedException {
    long wait = FIRST_WAIT_MILLIS;
    for (int i = 1; ; i++) {
      try {
        attempt.run();
        return;
      } catch (DigestMismatchException e) {
        throw e;
      } catch (IOException e) {
        if (Thread.interrupted()) {
          throw new InterruptedException();
        }
        if (isUseless(e) || i == TRIES) {
          throw e;
        }
        log.info("try {} of {}: {}", i, TRIES, e.getMessage());
      }
      Thread.sleep(wait);
      wait *= 3;
    }
  }
}
