package dev.baton.coordinator.core;

import com.google.protobuf.ByteString;

/** Jobs' logs. As {@link JobStore}: on the core's thread, inside its transaction. */
public interface LogStore {
  /** Where the log ends, of this term's part and of all. */
  LogPosition end(String jobId, long term);

  /** Appends a piece that lies at these positions. */
  void append(String jobId, long term, LogPosition at, ByteString data);

  /** Up to {@code limit} bytes from {@code offset} in the job's whole log; empty at its end. */
  ByteString read(String jobId, long offset, int limit);
}
