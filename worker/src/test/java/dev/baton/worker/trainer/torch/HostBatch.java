package dev.baton.worker.trainer.torch;

import dev.baton.worker.data.Batch;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;

/** A batch in direct buffers of its own. */
record HostBatch(long step, int samples, int shards, ByteBuffer x, ByteBuffer y) implements Batch {

  static ByteBuffer direct(int bytes) {
    return ByteBuffer.allocateDirect(bytes).order(ByteOrder.nativeOrder());
  }

  /** As equal as it goes, larger ones first. */
  private static int[] bounds(int samples, int shards) {
    int[] bounds = new int[shards + 1];
    for (int v = 0; v < shards; v++) {
      bounds[v + 1] = bounds[v] + samples / shards + (v < samples % shards ? 1 : 0);
    }
    return bounds;
  }

  @Override
  public int[] shardBounds() {
    return bounds(samples, shards);
  }

  @Override
  public void release() {}
}
