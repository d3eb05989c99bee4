package dev.baton.worker.lease;

import dev.baton.v1.AppendLogRequest;
import dev.baton.v1.BeginAttemptRequest;
import dev.baton.v1.CommitCheckpointRequest;
import dev.baton.v1.CoordinatorMessage;
import dev.baton.v1.CreateDownloadRequest;
import dev.baton.v1.CreateUploadRequest;
import dev.baton.v1.DownloadTicket;
import dev.baton.v1.FinishAttemptRequest;
import dev.baton.v1.UploadTicket;
import dev.baton.v1.WorkerMessage;

/**
 * The coordinator as a worker sees it; the contract is {@code WorkerService}'s. Calls block, end
 * early when their thread is interrupted, and may be made by any number of threads.
 */
public interface Coordinator {

  /** Opens a stream. Its listener may be called before this returns, by any thread. */
  Session open(SessionListener listener);

  /** Gives up waiting between attempts to connect: tries at once. */
  void connectNow();

  void beginAttempt(BeginAttemptRequest request) throws CoordinatorException;

  DownloadTicket createDownload(CreateDownloadRequest request) throws CoordinatorException;

  UploadTicket createUpload(CreateUploadRequest request) throws CoordinatorException;

  void commitCheckpoint(CommitCheckpointRequest request) throws CoordinatorException;

  void finishAttempt(FinishAttemptRequest request) throws CoordinatorException;

  /** Returns where the next piece goes. */
  long appendLog(AppendLogRequest request) throws CoordinatorException;

  /** A stream to the coordinator. One thread sends. */
  interface Session {
    /** Sends, or does nothing where the stream has ended. */
    void send(WorkerMessage message);

    /** Ends the stream in good order. */
    void finish();

    /** Breaks the stream. Its listener may hear {@code onEnd} yet. */
    void cancel();
  }

  /** Hears what comes over a stream. */
  interface SessionListener {
    void onMessage(CoordinatorMessage message);

    void onEnd(CoordinatorException why);
  }
}
