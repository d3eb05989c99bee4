package dev.baton.worker.data;

import java.nio.ByteBuffer;

/**
 * One global batch, or the part of it that one replica trains, in the order its samples are
 * trained. The consumer releases it once.
 */
public interface Batch {
  /**
   * The step that it makes, from 1, over all epochs; in an evaluation the batch's number, from 1,
   * among those of its replica.
   */
  long step();

  /** Samples that it holds; 0 where this replica has none of the batch. */
  int samples();

  /**
   * Where the global batch's shards begin and end: shard v is samples [bounds[v], bounds[v + 1]) of
   * it; V + 1 entries. Not to be changed.
   */
  int[] shardBounds();

  /** The shards whose samples it holds. */
  default ShardRange held() {
    return ShardRange.all(shardBounds().length - 1);
  }

  /**
   * Whether {@link #x} holds the samples' indices, as an {@link IndexSource} gives them, and {@link
   * #y} nothing.
   */
  default boolean byIndex() {
    return false;
  }

  /**
   * {@code [samples, *xShape]} in native byte order, direct, from position 0 to its limit. Valid
   * until released.
   */
  ByteBuffer x();

  /** {@code [samples]} int64, or {@code [samples, 1]} float32; likewise. */
  ByteBuffer y();

  /** Gives the buffers back. */
  void release();
}
