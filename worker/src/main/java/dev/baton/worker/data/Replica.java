package dev.baton.worker.data;

/**
 * A replica's place among those that train a job together.
 *
 * @param rank from 0
 * @param size how many there are
 */
public record Replica(int rank, int size) {
  /** The only one. */
  public static final Replica ALONE = new Replica(0, 1);

  public Replica {
    if (size < 1 || rank < 0 || rank >= size) {
      throw new IllegalArgumentException("rank " + rank + " of a group of " + size);
    }
  }

  /** The shards that it trains. */
  public ShardRange shards(int all) {
    return ShardRange.of(all, rank, size);
  }
}
