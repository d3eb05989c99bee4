package dev.baton.coordinator.core;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.time.Duration;
import org.junit.jupiter.api.Test;

final class LeasePolicyTest {

  @Test
  void theDefaultsAreThoseOfTheDesign() {
    assertThat(LeasePolicy.DEFAULT)
        .isEqualTo(
            new LeasePolicy(Duration.ofSeconds(3), Duration.ofSeconds(15), Duration.ofSeconds(2)));
  }

  @Test
  void aLeaseLastsAtLeastFourHeartbeats() {
    Duration heartbeat = Duration.ofSeconds(3);
    assertThat(new LeasePolicy(heartbeat, Duration.ofSeconds(12), Duration.ZERO)).isNotNull();
    assertThatThrownBy(() -> new LeasePolicy(heartbeat, Duration.ofMillis(11_999), Duration.ZERO))
        .hasMessage(
            "lease.lease is 11999 ms with a heartbeat each 3000 ms; it must last at least four"
                + " heartbeats");
  }

  @Test
  void theGraceLiesWithinTheLease() {
    assertThatThrownBy(
            () ->
                new LeasePolicy(
                    Duration.ofSeconds(1), Duration.ofSeconds(4), Duration.ofSeconds(5)))
        .hasMessageContaining("lease.grace is 5000 ms");
  }
}
