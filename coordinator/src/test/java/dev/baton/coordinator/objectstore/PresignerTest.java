package dev.baton.coordinator.objectstore;

import static org.assertj.core.api.Assertions.assertThat;

import java.time.Duration;
import java.time.Instant;
import java.util.Map;
import org.junit.jupiter.api.Test;

class PresignerTest {
  /** The example in Amazon's "Authenticating Requests: Using Query Parameters". */
  @Test
  void amazonsExample() {
    Presigner presigner =
        new Presigner(
            "us-east-1", "AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY");
    assertThat(
            presigner.presign(
                "GET",
                "https://examplebucket.s3.amazonaws.com",
                "/test.txt",
                Map.of(),
                Map.of(),
                Instant.parse("2013-05-24T00:00:00Z"),
                Duration.ofDays(1)))
        .isEqualTo(
            "https://examplebucket.s3.amazonaws.com/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256"
                + "&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request"
                + "&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host"
                + "&X-Amz-Signature="
                + "aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404");
    assertThat(presigner.toString()).doesNotContain("wJalr");
  }
}
