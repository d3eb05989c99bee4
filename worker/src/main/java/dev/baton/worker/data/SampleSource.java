package dev.baton.worker.data;

import java.nio.ByteBuffer;
import org.jspecify.annotations.Nullable;

/** The samples of one split, decoded, by index. Any number of threads may gather at a time. */
public interface SampleSource extends AutoCloseable {
  SampleFormat format();

  long size();

  /** Whether no sample needs decoding any more. */
  default boolean isComplete() {
    return true;
  }

  /** Whether it gives the samples' indices in another source; see {@link IndexSource}. */
  default boolean byIndex() {
    return false;
  }

  /**
   * Copies samples {@code indices[from..to)} behind the positions of x and y, one after the other,
   * and moves the positions. Waits where a sample is not decoded yet.
   *
   * @throws dev.baton.worker.trainer.TrainingException where one cannot be decoded; the message
   *     names it
   */
  void gather(int[] indices, int from, int to, ByteBuffer x, ByteBuffer y);

  /**
   * Samples {@code [from, to)} where they lie, without a copy; null where they do not lie together
   * or are not all decoded yet. Valid until the source is closed.
   */
  default @Nullable Slice view(int from, int to) {
    return null;
  }

  /** Samples one after the other: direct buffers in native byte order, from position 0 to limit. */
  record Slice(ByteBuffer x, ByteBuffer y) {}

  @Override
  void close();
}
