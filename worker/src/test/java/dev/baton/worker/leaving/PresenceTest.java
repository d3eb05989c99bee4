package dev.baton.worker.leaving;

import static org.assertj.core.api.Assertions.assertThat;

import dev.baton.worker.leaving.Presence.Decision;
import dev.baton.worker.leaving.Presence.Stance;
import dev.baton.worker.testing.ManualLoop;
import java.time.Clock;
import java.time.Duration;
import java.time.Instant;
import java.time.ZoneId;
import java.time.ZonedDateTime;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.Test;

class PresenceTest {
  private static final ZonedDateTime START = ZonedDateTime.parse("2026-03-01T21:00:00+01:00");
  private static final Duration SECOND = Duration.ofSeconds(1);

  /** What the worker was told, as a test reads it. */
  private final class Told implements PresenceWatch.Worker {
    @Override
    public boolean busy() {
      return busy;
    }

    @Override
    public void finish(String reason) {
      told.add(at() + " finish: " + reason);
    }

    @Override
    public void rest(String reason) {
      told.add(at() + " rest: " + reason);
    }

    @Override
    public void work() {
      told.add(at() + " work");
    }

    @Override
    public void leave(ExitReason exit, String reason) {
      told.add(at() + " leave (" + exit.word() + "): " + reason);
    }
  }

  /** The start and the loop's time. */
  private final class LoopClock extends Clock {
    @Override
    public ZoneId getZone() {
      return START.getZone();
    }

    @Override
    public Clock withZone(ZoneId zone) {
      throw new UnsupportedOperationException();
    }

    @Override
    public Instant instant() {
      return START.toInstant().plusNanos(loop.nanoTime() - base);
    }
  }

  private final long base = Long.MAX_VALUE - Duration.ofMinutes(1).toNanos();
  private final ManualLoop loop = new ManualLoop(base);
  private final List<String> told = new ArrayList<>();
  private boolean busy;
  private Duration upload = Duration.ZERO;

  private long at() {
    return (loop.nanoTime() - base) / 1_000_000_000L;
  }

  private void watch(Optional<Duration> endsIn, String hours, Optional<Duration> idleExit) {
    PresenceWatch unused = started(endsIn, hours, idleExit);
  }

  private PresenceWatch started(
      Optional<Duration> endsIn, String hours, Optional<Duration> idleExit) {
    Presence presence =
        new Presence(
            endsIn.map(in -> new EndOfLife(START.toInstant().plus(in))),
            hours.isEmpty() ? Hours.ALL : Hours.parse(hours),
            idleExit,
            base);
    PresenceWatch watch =
        new PresenceWatch(presence, new Told(), () -> upload, new LoopClock(), loop);
    watch.start();
    return watch;
  }

  @Test
  void withoutLimitsNothingIsSaid() {
    watch(Optional.empty(), "", Optional.empty());
    loop.advance(Duration.ofDays(2));
    assertThat(told).isEmpty();
  }

  @Test
  void aBusyWorkerFinishesAndLeavesBeforeItsEnd() {
    busy = true;
    watch(Optional.of(Duration.ofMinutes(10)), "", Optional.empty());
    loop.advance(Duration.ofMinutes(11));
    assertThat(told)
        .containsExactly(
            "580 finish: its machine ends at 2026-03-01T21:10",
            "585 leave (end): its machine ends at 2026-03-01T21:10");
  }

  @Test
  void aSlowUploadMakesItLeaveEarlier() {
    busy = true;
    watch(Optional.of(Duration.ofMinutes(10)), "", Optional.empty());
    upload = Duration.ofSeconds(60);
    loop.advance(Duration.ofMinutes(11));
    assertThat(told).hasSize(2);
    assertThat(told.get(0)).startsWith("405 finish");
    assertThat(told.get(1)).startsWith("410 leave (end)");
  }

  @Test
  void anIdleWorkerDoesNotWaitForItsEnd() {
    watch(Optional.of(Duration.ofMinutes(10)), "", Optional.empty());
    loop.advance(Duration.ofMinutes(11));
    assertThat(told).containsExactly("580 leave (end): its machine ends at 2026-03-01T21:10");
  }

  @Test
  void itsTokensEndIsAnEndToo() {
    busy = true;
    PresenceWatch watch = started(Optional.of(Duration.ofMinutes(10)), "", Optional.empty());
    loop.advance(Duration.ofMinutes(1));
    watch.alsoEnds(EndOfLife.ofToken(new LoopClock().instant(), 120_000));
    // One that comes later changes nothing.
    watch.alsoEnds(EndOfLife.ofToken(new LoopClock().instant(), 150_000));
    loop.advance(Duration.ofMinutes(11));
    String reason =
        "the token expires at 2026-03-01T21:03; make a new one with 'baton token create --role"
            + " worker'";
    assertThat(told).containsExactly("160 finish: " + reason, "165 leave (refused): " + reason);
  }

  @Test
  void anEndThatPassedWhileItWasSuspendedCounts() {
    busy = true;
    watch(Optional.of(Duration.ofMinutes(10)), "", Optional.empty());
    loop.advance(Duration.ofMinutes(1));
    loop.jump(Duration.ofHours(1));
    loop.advance(SECOND);
    assertThat(told).singleElement().asString().contains("leave (end)");
  }

  @Test
  void anIdleWorkerEnds() {
    watch(Optional.empty(), "", Optional.of(Duration.ofMinutes(20)));
    loop.advance(Duration.ofMinutes(19));
    busy = true;
    loop.advance(Duration.ofHours(3));
    busy = false;
    loop.advance(Duration.ofMinutes(19));
    assertThat(told).isEmpty();
    loop.advance(Duration.ofMinutes(2));
    assertThat(told).singleElement().asString().endsWith("leave (idle): nothing to do for 1200 s");
  }

  @Test
  void whoeverWasSuspendedWasNotIdle() {
    busy = true;
    watch(Optional.empty(), "", Optional.of(Duration.ofMinutes(20)));
    loop.advance(Duration.ofMinutes(1));
    // When it wakes up its lease is lost.
    loop.jump(Duration.ofHours(5));
    busy = false;
    loop.advance(Duration.ofMinutes(19));
    assertThat(told).isEmpty();
    loop.jump(Duration.ofHours(5));
    loop.advance(Duration.ofMinutes(19));
    assertThat(told).isEmpty();
    loop.advance(Duration.ofMinutes(2));
    assertThat(told).hasSize(1);
  }

  @Test
  void itRestsOutsideItsHoursAndComesBack() {
    busy = true;
    watch(Optional.empty(), "22:00-07:00", Optional.empty());
    loop.advance(Duration.ofHours(24));
    assertThat(told)
        .containsExactly(
            "0 rest: outside its hours (22:00-07:00)",
            "3600 work",
            "36000 rest: outside its hours (22:00-07:00)");
  }

  @Test
  void restIsNoIdleness() {
    watch(Optional.empty(), "22:00-07:00", Optional.of(Duration.ofMinutes(20)));
    loop.advance(Duration.ofHours(2));
    assertThat(told).hasSize(3);
    assertThat(told.get(1)).isEqualTo("3600 work");
    assertThat(told.get(2)).startsWith("4799 leave (idle)");
  }

  @Test
  void itsEndCountsOutsideItsHoursToo() {
    watch(Optional.of(Duration.ofMinutes(10)), "22:00-07:00", Optional.empty());
    loop.advance(Duration.ofMinutes(11));
    assertThat(told).hasSize(2);
    assertThat(told.get(1)).startsWith("580 leave (end)");
  }

  @Test
  void nothingIsToBeDoneAsLongAsItWorks() {
    Presence presence = new Presence(Optional.empty(), Hours.ALL, Optional.empty(), 0);
    Decision decision = presence.look(START, 0, false, Duration.ZERO);
    assertThat(decision.stance()).isEqualTo(Stance.WORK);
    assertThat(decision.reason()).isEmpty();
    assertThat(decision.exit()).isEmpty();
  }
}
