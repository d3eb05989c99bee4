package dev.baton.worker.leaving;

import dev.baton.worker.lease.Loop;
import dev.baton.worker.leaving.Presence.Decision;
import dev.baton.worker.leaving.Presence.Stance;
import java.time.Clock;
import java.time.Duration;
import java.time.ZonedDateTime;
import java.util.function.Supplier;

/** Looks each second whether the worker is to be there, and tells it what has changed. */
public final class PresenceWatch {
  private static final long LOOK_NANOS = 1_000_000_000L;

  /** Who is told; on the loop. */
  public interface Worker {
    /** Whether it holds a job. */
    boolean busy();

    /** To take no more jobs. */
    void finish(String reason);

    /** To take no more jobs, and to hand over those it has. */
    void rest(String reason);

    /** To take jobs again. */
    void work();

    /** To hand over everything and end. */
    void leave(ExitReason exit, String reason);
  }

  private final Presence presence;
  private final Worker worker;
  private final Supplier<Duration> upload;
  private final Clock clock;
  private final Loop loop;
  private Stance stance = Stance.WORK;

  /**
   * @param upload what an upload of a checkpoint takes at present
   * @param clock people's time, in the zone that hours are meant in
   */
  public PresenceWatch(
      Presence presence, Worker worker, Supplier<Duration> upload, Clock clock, Loop loop) {
    this.presence = presence;
    this.worker = worker;
    this.upload = upload;
    this.clock = clock;
    this.loop = loop;
  }

  /** Looks for the first time, and from then on each second until the worker leaves. */
  public void start() {
    loop.execute(this::look);
  }

  /** Has one more end count; any thread may call it. */
  public void alsoEnds(EndOfLife end) {
    loop.execute(() -> presence.alsoEnds(end));
  }

  private void look() {
    Decision decision =
        presence.look(ZonedDateTime.now(clock), loop.nanoTime(), worker.busy(), upload.get());
    if (decision.stance() != stance) {
      stance = decision.stance();
      switch (stance) {
        case WORK -> worker.work();
        case FINISH -> worker.finish(decision.reason());
        case REST -> worker.rest(decision.reason());
        case LEAVE -> worker.leave(decision.exit().orElseThrow(), decision.reason());
      }
    }
    if (stance != Stance.LEAVE) {
      loop.schedule(LOOK_NANOS, this::look);
    }
  }
}
