package dev.baton.coordinator.core;

import dev.baton.coordinator.testing.InMemoryStores;
import dev.baton.v1.CoordinatorMessage;
import dev.baton.v1.CreateUploadRequest;
import dev.baton.v1.JobSpec;
import dev.baton.v1.LeaseRef;
import dev.baton.v1.UploadContent;
import dev.baton.v1.UploadPart;
import java.util.ArrayList;
import java.util.List;
import java.util.SplittableRandom;
import java.util.function.Consumer;
import java.util.function.Function;

/** A core on a manual clock, over stores in memory. */
abstract class ManualCore {
  private static final long TICK_MS = 50;

  final InMemoryStores database = new InMemoryStores();
  final List<Effect> effects = new ArrayList<>();
  private Scheduler scheduler = newScheduler();
  private long nanos = 5_000_000_000L;
  private long epochMs = 1_700_000_000_000L;
  private int requests;
  private int uploads;

  private Scheduler newScheduler() {
    return new Scheduler(
        database.stores(), LeasePolicy.DEFAULT, new SplittableRandom(17 + requests));
  }

  final Now now() {
    return new Now(nanos, epochMs);
  }

  /** A command in a transaction of its own. */
  final <T> T ask(Function<Scheduler, T> command) {
    database.begin();
    try {
      return command.apply(scheduler);
    } finally {
      database.commit();
      effects.addAll(scheduler.drainEffects());
    }
  }

  final void tell(Consumer<Scheduler> command) {
    ask(
        s -> {
          command.accept(s);
          return "";
        });
  }

  /** A command whose transaction fails after it was run. */
  final void fail(Consumer<Scheduler> command) {
    database.begin();
    command.accept(scheduler);
    database.rollback();
    tell(s -> s.reload(now()));
  }

  /** The first start, after which workers have had time to come back. */
  final void start() {
    tell(s -> s.start(now()));
    advance(20_000);
  }

  /** Another process, whose monotonic clock has another origin. */
  final void startAgain() {
    scheduler = newScheduler();
    nanos -= 3_000_000_000L;
    tell(s -> s.start(now()));
  }

  /** Time goes by. */
  final void advance(long ms) {
    for (long left = ms; left > 0; left -= TICK_MS) {
      long before = epochMs;
      Now then = later(Math.min(left, TICK_MS));
      tell(s -> s.tick(then));
      ticked(before);
    }
  }

  /**
   * After each tick.
   *
   * @param beforeMs since the epoch, at the tick before
   */
  void ticked(long beforeMs) {}

  /** It is so much later, and nobody has ticked meanwhile. */
  final Now later(long ms) {
    nanos += ms * 1_000_000;
    epochMs += ms;
    return now();
  }

  /** The wall clock alone is so much later. */
  final void setWallClockForward(long ms) {
    epochMs += ms;
  }

  final String submit(JobSpec.Builder spec) {
    return ask(s -> s.submit("request-" + ++requests, spec.build(), now()));
  }

  final dev.baton.v1.Job view(String job) {
    return ask(s -> s.view(job, now()));
  }

  /** All that was sent to a worker. */
  final List<CoordinatorMessage> sent(String worker) {
    return effects.stream()
        .filter(e -> e instanceof Effect.Send send && send.workerId().equals(worker))
        .map(e -> ((Effect.Send) e).message())
        .toList();
  }

  /** Creates an upload of eight bytes; its id. */
  final String upload(LeaseRef lease) {
    String id = "upload-" + ++uploads;
    tell(s -> s.createUpload(uploadRequest(lease, id), now()));
    return id;
  }

  static CreateUploadRequest uploadRequest(LeaseRef lease, String id) {
    return CreateUploadRequest.newBuilder()
        .setLease(lease)
        .setUploadId(id)
        .setContent(
            UploadContent.newBuilder()
                .setBytes(8)
                .setSha256("00")
                .addParts(UploadPart.newBuilder().setBytes(8)))
        .build();
  }
}
