package dev.baton.coordinator.core;

import java.util.Arrays;
import java.util.Queue;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.atomic.AtomicLong;
import java.util.stream.LongStream;
import org.assertj.core.api.Assertions;
import org.junit.jupiter.api.Test;

/**
 * The promises under faults, over many seeds. {@code -Dbaton.simulation.seeds=100000} runs that
 * many, from {@code -Dbaton.simulation.first=1} on; {@code -Dbaton.simulation.seed=N} replays one.
 */
final class SimulationTest {

  @Test
  void promisesHoldUnderEveryFault() {
    runAll(Simulation.Weather.STORM, 1.0);
  }

  @Test
  void noJobNoticesWhatBefallsTheCoordinator() {
    runAll(Simulation.Weather.COORDINATOR_ONLY, 0.25);
  }

  @Test
  void noStepIsLostWhenWorkersLeaveInGoodOrder() {
    runAll(Simulation.Weather.DRAINS_ONLY, 0.1);
  }

  private static void runAll(Simulation.Weather weather, double share) {
    Long one = Long.getLong("baton.simulation.seed");
    long seeds = Math.max(1, (long) (Long.getLong("baton.simulation.seeds", 2_000) * share));
    long first = Long.getLong("baton.simulation.first", 1);
    LongStream range = one == null ? LongStream.range(first, first + seeds) : LongStream.of(one);
    AtomicLong failures = new AtomicLong();
    Queue<String> found = new ConcurrentLinkedQueue<>();
    range
        .parallel()
        .forEach(
            seed -> {
              try {
                new Simulation(seed, weather).run();
              } catch (RuntimeException | Simulation.Broken e) {
                if (failures.incrementAndGet() <= 5) {
                  found.add("seed " + seed + ": " + e);
                  if (one != null || failures.get() == 1) {
                    Arrays.stream(e.getStackTrace())
                        .limit(12)
                        .forEach(frame -> found.add("    at " + frame));
                  }
                }
              }
            });
    if (failures.get() > 0) {
      Assertions.fail(
          "%s: %d of %d seeds failed; replay with -Dbaton.simulation.seed=N:%n%s",
          weather, failures.get(), one == null ? seeds : 1, String.join("\n", found));
    }
  }
}
