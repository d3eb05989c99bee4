package dev.baton.worker.leaving;

import java.time.Duration;
import java.time.Instant;
import java.time.ZonedDateTime;
import java.util.Optional;

/**
 * Whether a worker is there for jobs: decides by the end of its machine or token, the hours of the
 * day and idleness. Pure. Not thread-safe.
 */
public final class Presence {

  /** What a worker is to do. */
  public enum Stance {
    /** Take jobs. */
    WORK,
    /** Go on with the jobs it has and take no more. */
    FINISH,
    /** Hand its jobs over, and take none until it is to work again. */
    REST,
    /** Hand its jobs over and end. */
    LEAVE
  }

  /**
   * A decision.
   *
   * @param reason one line for people, but for {@link Stance#WORK}
   * @param exit why it leaves, with {@link Stance#LEAVE}
   */
  public record Decision(Stance stance, String reason, Optional<ExitReason> exit) {
    private static final Decision WORK = new Decision(Stance.WORK, "", Optional.empty());

    private static Decision stay(Stance stance, String reason) {
      return new Decision(stance, reason, Optional.empty());
    }

    private static Decision leave(ExitReason exit, String reason) {
      return new Decision(Stance.LEAVE, reason, Optional.of(exit));
    }
  }

  private Optional<EndOfLife> end;
  private final Hours hours;
  private final Optional<Duration> idleExit;
  private final IdleTime idleTime;

  /**
   * @param idleExit how long it may have nothing to do, in its hours
   * @param nowNanos of a monotonic clock
   */
  public Presence(
      Optional<EndOfLife> end, Hours hours, Optional<Duration> idleExit, long nowNanos) {
    this.end = end;
    this.hours = hours;
    this.idleExit = idleExit;
    this.idleTime = new IdleTime(nowNanos);
  }

  /** Has one more end count, where it comes first. */
  public void alsoEnds(EndOfLife other) {
    if (end.isEmpty() || other.at().isBefore(end.get().at())) {
      end = Optional.of(other);
    }
  }

  /**
   * To be called about once a second.
   *
   * @param now in the zone that the hours are meant in
   * @param nowNanos of a monotonic clock
   * @param busy whether it holds a job
   * @param upload what an upload of a checkpoint takes at present
   */
  public Decision look(ZonedDateTime now, long nowNanos, boolean busy, Duration upload) {
    boolean open = hours.contains(now.toLocalTime());
    long idleNanos = idleTime.look(open && !busy, nowNanos);
    if (end.isPresent()) {
      Instant instant = now.toInstant();
      boolean last = !instant.isBefore(end.get().lastOfferAt(upload));
      if (!instant.isBefore(end.get().leaveAt(upload)) || (last && !busy)) {
        return Decision.leave(end.get().cause().exit(), end.get().sentence(now.getZone()));
      }
      if (last && open) {
        return Decision.stay(Stance.FINISH, end.get().sentence(now.getZone()));
      }
    }
    if (!open) {
      return Decision.stay(Stance.REST, "outside its hours (" + hours + ")");
    }
    if (idleExit.isPresent() && idleNanos >= idleExit.get().toNanos()) {
      return Decision.leave(
          ExitReason.IDLE, "nothing to do for " + idleExit.get().toSeconds() + " s");
    }
    return Decision.WORK;
  }
}
