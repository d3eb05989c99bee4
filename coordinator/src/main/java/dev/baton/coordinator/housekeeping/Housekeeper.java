package dev.baton.coordinator.housekeeping;

import dev.baton.coordinator.core.ObjectStore;
import dev.baton.coordinator.core.ObjectStoreException;
import dev.baton.coordinator.core.Reads;
import dev.baton.coordinator.core.Scheduler;
import dev.baton.coordinator.core.Stores;
import dev.baton.coordinator.core.Upload;
import dev.baton.coordinator.loop.CoreLoop;
import java.time.Duration;
import java.time.Instant;
import java.time.InstantSource;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Executors;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.TimeUnit;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Clears away on a timer what nothing needs: objects that the database has let go (checkpoints
 * beyond those kept, deleted data sets), uploads of terms that are over, uploads that nothing has
 * referred to for a day; and, at start and each hour, whatever else of our making lies in the
 * store, provided that the store is ours. A failure is logged and tried again at the next round; an
 * object that cannot be removed, an hour later.
 */
public final class Housekeeper implements AutoCloseable {
  private static final Logger log = LoggerFactory.getLogger(Housekeeper.class);
  private static final Duration ROUND = Duration.ofSeconds(10);
  private static final Duration SWEEP = Duration.ofHours(1);
  private static final Duration UNREFERENCED = Duration.ofHours(24);
  private static final int BATCH = 100;
  // More of them in one round are the store's trouble, and not each object's own.
  private static final int MAX_FAILURES = 10;

  private final CoreLoop<Scheduler> loop;
  private final Stores stores;
  private final Reads reads;
  private final ObjectStore objects;
  private final String database;
  private final InstantSource clock;
  // By upload: when it is tried again.
  private final Map<String, Instant> setAside = new HashMap<>();
  private boolean saidThatItIsNotOurs;
  private final ScheduledExecutorService timer =
      Executors.newSingleThreadScheduledExecutor(
          task -> {
            var thread = new Thread(task, "housekeeper");
            thread.setDaemon(true);
            return thread;
          });

  /**
   * @param stores of the connection that writes
   * @param database the id of the database that they are in
   */
  public Housekeeper(
      CoreLoop<Scheduler> loop,
      Stores stores,
      Reads reads,
      ObjectStore objects,
      String database,
      InstantSource clock) {
    this.loop = loop;
    this.stores = stores;
    this.reads = reads;
    this.objects = objects;
    this.database = database;
    this.clock = clock;
  }

  /** Begins the rounds. */
  public void start() {
    schedule("the removal of old objects", this::removeOld, ROUND);
    schedule("the sweep of the object store", this::sweep, SWEEP);
  }

  private void schedule(String what, Chore chore, Duration period) {
    var unused =
        timer.scheduleWithFixedDelay(
            () -> runOnce(what, chore), 1, period.toSeconds(), TimeUnit.SECONDS);
  }

  /** A piece of work that may fail. */
  @FunctionalInterface
  interface Chore {
    void run() throws Exception;
  }

  /** Runs a chore; its failure ends nothing else. */
  static void runOnce(String what, Chore chore) {
    try {
      chore.run();
    } catch (Exception e) {
      if (e instanceof InterruptedException) {
        Thread.currentThread().interrupt();
      } else {
        log.warn("{} failed; it is tried again at the next round", what, e);
      }
    }
  }

  /** Removes objects that the database has let go. */
  void removeOld() throws Exception {
    setAside.values().removeIf(again -> !again.isAfter(clock.instant()));
    int failures = 0;
    List<Upload> batch;
    int limit;
    do {
      long openBefore = clock.instant().minus(UNREFERENCED).toEpochMilli();
      // What is set aside comes again, and must not fill the batch.
      int most = BATCH + setAside.size();
      limit = most;
      batch = reads.read(all -> all.uploads().sweepable(openBefore, most));
      for (Upload upload : batch) {
        if (!setAside.containsKey(upload.uploadId()) && !removes(upload)) {
          failures++;
          if (failures == MAX_FAILURES) {
            return;
          }
        }
      }
    } while (batch.size() == limit);
  }

  private boolean removes(Upload upload) throws Exception {
    try {
      remove(upload);
      return true;
    } catch (ObjectStoreException e) {
      setAside.put(upload.uploadId(), clock.instant().plus(SWEEP));
      log.warn("not removed, tried again in an hour: {}: {}", upload.objectKey(), e.getMessage());
      return false;
    }
  }

  private void remove(Upload upload) throws Exception {
    String id = upload.uploadId();
    // From here on nobody can commit it. What somebody used meanwhile waits for the next round.
    boolean ours =
        loop.submit(
                (core, now) -> {
                  boolean still = stores.uploads().find(id).filter(upload::equals).isPresent();
                  if (still && upload.state() == Upload.State.OPEN) {
                    stores.uploads().setState(id, Upload.State.EXPIRED);
                  }
                  return still;
                })
            .get();
    if (!ours) {
      return;
    }
    if (!upload.multipartId().isEmpty()) {
      objects.abortUpload(upload.objectKey(), upload.multipartId());
    }
    objects.delete(upload.objectKey());
    var unused =
        loop.submit(
                (core, now) -> {
                  stores.uploads().delete(id);
                  return id;
                })
            .get();
  }

  /** Removes what the database does not know at all, from a store that is its own. */
  void sweep() throws ObjectStoreException {
    String owner = objects.claim(database);
    if (!owner.equals(database)) {
      if (!saidThatItIsNotOurs) {
        log.error(
            "the object store belongs to another coordinator: its object baton/owner names database"
                + " {}, and this one is {}; nothing is swept from it; give each coordinator a bucket"
                + " of its own, or remove baton/owner where the other is gone for good",
            owner,
            database);
        saidThatItIsNotOurs = true;
      }
      return;
    }
    Instant before = clock.instant().minus(UNREFERENCED);
    int removed = objects.sweep(before, key -> !reads.read(all -> all.uploads().knowsKey(key)));
    if (removed > 0) {
      log.info("swept {} leftovers from the object store", removed);
    }
  }

  /** Ends the rounds. */
  @Override
  public void close() {
    timer.shutdownNow();
  }
}
