package dev.baton.worker.daemon;

import dev.baton.transfer.Contents;
import dev.baton.transfer.FileProblems;
import dev.baton.transfer.ObjectTransfer;
import dev.baton.transfer.TransferListener;
import dev.baton.v1.AttemptOutcome;
import dev.baton.v1.BeginAttemptRequest;
import dev.baton.v1.CommitCheckpointRequest;
import dev.baton.v1.CompletedUpload;
import dev.baton.v1.CreateUploadRequest;
import dev.baton.v1.FinishAttemptRequest;
import dev.baton.v1.MetricPoint;
import dev.baton.v1.NewArtifact;
import dev.baton.v1.UploadContent;
import dev.baton.worker.cache.Trees;
import dev.baton.worker.lease.Coordinator;
import dev.baton.worker.lease.CoordinatorException;
import dev.baton.worker.lease.HeldLease;
import java.io.IOException;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.UUID;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Executor;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * What one attempt has to tell the coordinator for good, in its order: that it begins, its
 * checkpoints, its end. One thread does one thing after the other, each again until it is through
 * or the lease is over. Its methods may be called by any thread.
 */
final class AttemptOutbox {
  private static final Logger log = LoggerFactory.getLogger(AttemptOutbox.class);

  private static final int COMMIT_TRIES = 3;
  private static final long TRAINER_EXIT_SECONDS = 10;

  /** As long as it takes: the lease bounds it. */
  static final Duration UNHURRIED = Duration.ofDays(1);

  /** Hears how it gets on; called by the executor given. */
  interface Listener {
    void onBegun();

    void onCommitted(long step);

    /** The snapshot of that step cannot be stored, and the attempt goes on. */
    void onGivenUp(long step);

    /** The attempt has ended and the lease is given back: the last call. */
    void onEnded(String how);

    /** A write was refused because the term is over: the last call. */
    void onTermOver(String why);

    /**
     * The coordinator refuses a write for another reason: the last call.
     *
     * @param outcome what the lease is to be given back with
     */
    void onRefused(AttemptOutcome outcome, String why);
  }

  /**
   * The end of an attempt.
   *
   * @param request all but points and artifacts
   * @param artifacts files by name
   * @param points the last ones; those of uncommitted snapshots come before them
   * @param trainerGone completes when the trainer has printed its last
   * @param logLimit how long to wait for the log to arrive before the end is told
   */
  record Ending(
      FinishAttemptRequest request,
      Map<String, Path> artifacts,
      List<MetricPoint> points,
      Future<?> trainerGone,
      Duration logLimit) {}

  private final Coordinator coordinator;
  private final ObjectTransfer transfer;
  private final HeldLease lease;
  private final Optional<LogShipper> logs;
  private final Executor events;
  private final Listener listener;
  private final Thread thread;

  // Guarded by this.
  private final SnapshotQueue snapshots = new SnapshotQueue();
  private @Nullable BeginAttemptRequest begin;
  private @Nullable Ending ending;
  private String releaseReason = "handed over";

  // Of the thread.
  private boolean begun;
  private long committedStep;

  AttemptOutbox(
      Coordinator coordinator,
      ObjectTransfer transfer,
      HeldLease lease,
      Optional<LogShipper> logs,
      Executor events,
      Listener listener) {
    this.coordinator = coordinator;
    this.transfer = transfer;
    this.lease = lease;
    this.logs = logs;
    this.events = events;
    this.listener = listener;
    this.thread = new Thread(this::run, "attempt-" + lease.ref().getJobId());
    this.thread.setDaemon(true);
    this.thread.start();
  }

  /** The attempt begins. */
  synchronized void begin(BeginAttemptRequest request) {
    begin = request;
    notifyAll();
  }

  /** A snapshot to upload and commit; a stopped one ends the attempt. */
  void snapshot(Snapshot snapshot, String reason) {
    Optional<Snapshot> replaced;
    synchronized (this) {
      releaseReason = reason;
      replaced = snapshots.put(snapshot);
      notifyAll();
    }
    replaced.ifPresent(old -> Trees.deleteOrWarn(old.file()));
  }

  /** The attempt ends, after what is on its way. */
  synchronized void end(Ending how) {
    ending = how;
    notifyAll();
  }

  /** Drops everything at once. */
  void stop() {
    thread.interrupt();
  }

  private void run() {
    try {
      while (step()) {
        // One after the other.
      }
    } catch (CoordinatorException e) {
      String why = String.valueOf(e.getMessage());
      if (e.kind() == CoordinatorException.Kind.TERM_OVER) {
        events.execute(() -> listener.onTermOver(why));
      } else {
        log.error("{}: the coordinator refuses: {}", lease, why);
        refused(why);
      }
    } catch (InterruptedException e) {
      // stop()
    } catch (RuntimeException e) {
      log.error("{}: a bug in the worker; the attempt is dropped", lease, e);
      refused("a bug in the worker: " + e);
    } finally {
      deleteWaiting();
    }
  }

  // What has not begun can go on elsewhere, or wait; what fails later must not do so for ever.
  private void refused(String why) {
    AttemptOutcome outcome =
        begun
            ? AttemptOutcome.ATTEMPT_OUTCOME_WORKER_ERROR
            : AttemptOutcome.ATTEMPT_OUTCOME_RELEASED;
    events.execute(() -> listener.onRefused(outcome, why));
  }

  // False after the end.
  private boolean step() throws CoordinatorException, InterruptedException {
    BeginAttemptRequest beginning;
    Optional<Snapshot> snapshot = Optional.empty();
    Ending end;
    synchronized (this) {
      while (begin == null && snapshots.isEmpty() && ending == null) {
        wait();
      }
      beginning = begin;
      begin = null;
      end = ending;
      if (beginning == null && mayCommit(end)) {
        snapshot = snapshots.take();
      }
    }
    if (beginning != null) {
      begun(beginning);
      return true;
    }
    if (snapshot.isPresent()) {
      try {
        return commit(snapshot.get());
      } finally {
        drop(snapshot.get());
      }
    }
    if (end != null) {
      finish(end);
      return false;
    }
    return true;
  }

  // After success the last snapshot is of no use any more, but what a failed attempt left is.
  private static boolean mayCommit(@Nullable Ending end) {
    return end == null || end.request().getOutcome() != AttemptOutcome.ATTEMPT_OUTCOME_SUCCEEDED;
  }

  private void begun(BeginAttemptRequest request)
      throws CoordinatorException, InterruptedException {
    lease.whileItLasts(
        () -> {
          coordinator.beginAttempt(request);
          return request;
        });
    begun = true;
    // What goes on from memory may not be stored yet.
    committedStep = request.getFromMemory() ? 0 : request.getResumedStep();
    events.execute(listener::onBegun);
  }

  private boolean commit(Snapshot snapshot) throws CoordinatorException, InterruptedException {
    boolean nothingNew = snapshot.step() <= committedStep && snapshot.points().isEmpty();
    for (int i = 0; i < COMMIT_TRIES && !nothingNew; i++) {
      Optional<CompletedUpload> upload = upload(snapshot);
      if (upload.isEmpty()) {
        break;
      }
      if (snapshot.stopped()) {
        flushLogs(UNHURRIED);
      }
      try {
        CommitCheckpointRequest request = commitRequest(snapshot, upload.get());
        lease.whileItLasts(
            () -> {
              coordinator.commitCheckpoint(request);
              return request;
            });
        committedStep = snapshot.step();
        log.info("{}: checkpoint at step {} committed", lease, snapshot.step());
        events.execute(() -> listener.onCommitted(snapshot.step()));
        if (snapshot.stopped()) {
          events.execute(() -> listener.onEnded("handed over at step " + snapshot.step()));
        }
        return !snapshot.stopped();
      } catch (CoordinatorException e) {
        if (e.kind() != CoordinatorException.Kind.PRECONDITION) {
          throw e;
        }
        log.warn("{}: the upload did not arrive whole: {}", lease, e.getMessage());
      }
    }
    if (!snapshot.stopped()) {
      synchronized (this) {
        snapshots.giveUp(snapshot);
      }
      events.execute(() -> listener.onGivenUp(snapshot.step()));
      return true;
    }
    release(snapshot);
    return false;
  }

  private CommitCheckpointRequest commitRequest(Snapshot snapshot, CompletedUpload upload) {
    CommitCheckpointRequest.Builder request =
        CommitCheckpointRequest.newBuilder()
            .setLease(lease.ref())
            .setUpload(upload)
            .setStep(snapshot.step())
            .addAllPoints(snapshot.points());
    if (snapshot.stopped()) {
      request.setRelease(true).setReleaseReason(reason());
    }
    return request.build();
  }

  // Nothing was trained since the last commit, or it cannot be stored.
  private void release(Snapshot snapshot) throws CoordinatorException, InterruptedException {
    flushLogs(UNHURRIED);
    FinishAttemptRequest request =
        FinishAttemptRequest.newBuilder()
            .setLease(lease.ref())
            .setOutcome(AttemptOutcome.ATTEMPT_OUTCOME_RELEASED)
            .setMessage(reason())
            .setLastStep(snapshot.step())
            .build();
    send(request);
  }

  private void finish(Ending end) throws CoordinatorException, InterruptedException {
    FinishAttemptRequest.Builder request = end.request().toBuilder().setLease(lease.ref());
    if (request.getOutcome() == AttemptOutcome.ATTEMPT_OUTCOME_SUCCEEDED) {
      synchronized (this) {
        request.addAllPoints(snapshots.takePoints());
      }
      request.addAllPoints(end.points());
      try {
        for (Map.Entry<String, Path> artifact : end.artifacts().entrySet()) {
          request.addArtifacts(
              NewArtifact.newBuilder()
                  .setName(artifact.getKey())
                  .setUpload(store(artifact.getKey(), artifact.getValue())));
        }
      } catch (CoordinatorException e) {
        throw e;
      } catch (IOException e) {
        request
            .clearPoints()
            .clearArtifacts()
            .clearResult()
            .setOutcome(AttemptOutcome.ATTEMPT_OUTCOME_WORKER_ERROR)
            .setMessage("the results cannot be stored: " + FileProblems.describe(e));
      }
    }
    try {
      end.trainerGone().get(TRAINER_EXIT_SECONDS, TimeUnit.SECONDS);
    } catch (ExecutionException | TimeoutException e) {
      log.warn("{}: the trainer has finished but does not exit", lease);
    }
    flushLogs(end.logLimit());
    send(request.build());
  }

  private void send(FinishAttemptRequest request)
      throws CoordinatorException, InterruptedException {
    lease.whileItLasts(
        () -> {
          coordinator.finishAttempt(request);
          return request;
        });
    String how =
        request.getOutcome().name().replace("ATTEMPT_OUTCOME_", "")
            + (request.getMessage().isEmpty() ? "" : ": " + request.getMessage());
    events.execute(() -> listener.onEnded(how));
  }

  // However long the store is away or full: what is trained would only be trained again.
  private CompletedUpload store(String name, Path file) throws IOException, InterruptedException {
    UploadContent content = Contents.describe(file);
    String id = UUID.randomUUID().toString();
    for (long wait = HeldLease.firstWait(); ; wait = HeldLease.nextWait(wait)) {
      try {
        return put(file, content, id);
      } catch (IOException e) {
        rethrowTermOver(e);
        if (e instanceof CoordinatorException refusal
            && refusal.kind() != CoordinatorException.Kind.TRY_AGAIN) {
          throw refusal;
        }
        // Which no waiting would mend.
        if (!Contents.describe(file).equals(content)) {
          throw new IOException(file + " has changed since it was written", e);
        }
        log.warn("{}: {} is not stored yet: {}", lease, name, e.getMessage());
      }
      lease.pause(wait);
    }
  }

  // Empty where it was given up: a newer one waits, or the file cannot be read.
  private Optional<CompletedUpload> upload(Snapshot snapshot)
      throws CoordinatorException, InterruptedException {
    UploadContent content;
    try {
      content = Contents.describe(snapshot.file());
    } catch (IOException e) {
      rethrowTermOver(e);
      log.error("{}: the snapshot of step {} cannot be read", lease, snapshot.step(), e);
      return Optional.empty();
    }
    String id = UUID.randomUUID().toString();
    for (long wait = HeldLease.firstWait(); ; wait = HeldLease.nextWait(wait)) {
      try {
        return Optional.of(put(snapshot.file(), content, id));
      } catch (NoSuchFileException e) {
        rethrowTermOver(e);
        log.error("{}: the snapshot of step {} is gone", lease, snapshot.step(), e);
        return Optional.empty();
      } catch (IOException e) {
        rethrowTermOver(e);
        log.warn("{}: step {} is not stored yet: {}", lease, snapshot.step(), e.getMessage());
      }
      lease.pause(wait);
      synchronized (this) {
        if (!snapshots.isEmpty()) {
          return Optional.empty();
        }
      }
    }
  }

  private CompletedUpload put(Path file, UploadContent content, String id)
      throws IOException, InterruptedException {
    lease.awaitValid();
    CreateUploadRequest request =
        CreateUploadRequest.newBuilder()
            .setLease(lease.ref())
            .setUploadId(id)
            .setContent(content)
            .build();
    return transfer.upload(
        file, content, () -> coordinator.createUpload(request), TransferListener.NONE);
  }

  private static void rethrowTermOver(IOException e)
      throws CoordinatorException, InterruptedException {
    // Files and calls end with all sorts of exceptions when their thread is interrupted.
    if (Thread.interrupted()) {
      throw new InterruptedException();
    }
    if (e instanceof CoordinatorException refusal
        && (refusal.kind() == CoordinatorException.Kind.TERM_OVER
            || refusal.kind() == CoordinatorException.Kind.NOT_ALLOWED)) {
      throw refusal;
    }
  }

  private void flushLogs(Duration limit) throws InterruptedException {
    if (logs.isPresent()) {
      logs.get().flush(limit);
    }
  }

  private void deleteWaiting() {
    Optional<Snapshot> waiting;
    synchronized (this) {
      waiting = snapshots.take();
    }
    waiting.ifPresent(this::drop);
  }

  // A last one may have to be committed under the lease that follows.
  private void drop(Snapshot snapshot) {
    if (!snapshot.stopped()) {
      Trees.deleteOrWarn(snapshot.file());
    }
  }

  private synchronized String reason() {
    return releaseReason;
  }
}
