package dev.baton.worker.lease;

import static org.assertj.core.api.Assertions.assertThat;

import java.time.Duration;
import org.junit.jupiter.api.Test;

class LeaseDeadlineTest {
  private static final long SECOND = Duration.ofSeconds(1).toNanos();

  @Test
  void liesAMarginBeforeTheLeasesEnd() {
    assertThat(LeaseDeadline.of(100, 15 * SECOND)).isEqualTo(100 + 14 * SECOND);
    assertThat(LeaseDeadline.of(100, 2 * SECOND)).isEqualTo(100 + 2 * SECOND - SECOND / 5);
  }

  @Test
  void comparesAcrossTheClocksOverflow() {
    long sent = Long.MAX_VALUE - 5 * SECOND;
    long deadline = LeaseDeadline.of(sent, 15 * SECOND);
    assertThat(deadline).isNegative();
    assertThat(LeaseDeadline.passed(deadline, sent)).isFalse();
    assertThat(LeaseDeadline.passed(deadline, deadline - 1)).isFalse();
    assertThat(LeaseDeadline.passed(deadline, deadline)).isTrue();
    assertThat(LeaseDeadline.passed(deadline, deadline + SECOND)).isTrue();
    assertThat(LeaseDeadline.later(sent, deadline)).isEqualTo(deadline);
    assertThat(LeaseDeadline.later(deadline, sent)).isEqualTo(deadline);
  }
}
