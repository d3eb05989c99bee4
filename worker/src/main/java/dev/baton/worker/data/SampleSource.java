package dev.baton.worker.data;

import java.nio.ByteBuffer;

/** The samples of one split, decoded, by index. Any number of threads may gather at a time. */
public interface SampleSource extends AutoCloseable {
  SampleFormat format();

  long size();

  /**
   * Copies samples {@code indices[from..to)} behind the positions of x and y, one after the other,
   * and moves the positions. Waits where a sample is not decoded yet.
   *
   * @throws dev.baton.worker.trainer.TrainingException where one cannot be decoded; the message
   *     names it
   */
  void gather(int[] indices, int from, int to, ByteBuffer x, ByteBuffer y);

  @Override
  void close();
}
