package dev.baton.worker.trainer;

import dev.baton.worker.data.Batch;
import dev.baton.worker.data.Batches;
import dev.baton.worker.data.IndexSource;
import dev.baton.worker.data.SampleSource;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/**
 * Batches of a source that go by index from the moment on when the device holds the source. What is
 * trained is the same; while pictures are still being decoded, and for good where the device has no
 * room, the samples themselves travel.
 */
public final class DeviceBatches implements Batches {

  /** Makes batches of a source. */
  @FunctionalInterface
  public interface Opener {
    /**
     * Starts to make them.
     *
     * @param next the first batch's number
     */
    Batches open(SampleSource source, long next);
  }

  private final Engine engine;
  private final Engine.Use use;
  private final SampleSource source;
  private final Opener opener;
  private Batches batches;
  private boolean decided;
  private long next;
  private long waitedBefore;

  /**
   * Starts to make batches.
   *
   * @param first the first batch's number
   */
  public DeviceBatches(
      Engine engine, Engine.Use use, SampleSource source, long first, Opener opener) {
    this.engine = engine;
    this.use = use;
    this.source = source;
    this.opener = opener;
    this.next = first;
    this.batches = held().orElseGet(() -> opener.open(source, first));
  }

  /** Batches by index from the next on; empty where they cannot be had yet, or never. */
  private Optional<Batches> held() {
    if (decided || !source.isComplete()) {
      return Optional.empty();
    }
    decided = true;
    return engine.hold(use, source)
        ? Optional.of(opener.open(new IndexSource(source.size()), next))
        : Optional.empty();
  }

  @Override
  public @Nullable Batch next() throws InterruptedException {
    held()
        .ifPresent(
            byIndex -> {
              waitedBefore += batches.waitedNanos();
              batches.close();
              batches = byIndex;
            });
    Batch batch = batches.next();
    next++;
    return batch;
  }

  @Override
  public long waitedNanos() {
    return waitedBefore + batches.waitedNanos();
  }

  @Override
  public void close() {
    batches.close();
  }
}
