package dev.baton.worker.data;

/**
 * The shards of every batch that one replica trains: {@code [from, to)}.
 *
 * @param from the first
 * @param to the one behind the last
 */
public record ShardRange(int from, int to) {

  /** The range of a replica among {@code size}: as equal as it goes, larger ones first. */
  public static ShardRange of(int shards, int rank, int size) {
    int[] bounds = BatchPlan.shardBounds(shards, size);
    return new ShardRange(bounds[rank], bounds[rank + 1]);
  }

  /** Every shard. */
  public static ShardRange all(int shards) {
    return new ShardRange(0, shards);
  }
}
