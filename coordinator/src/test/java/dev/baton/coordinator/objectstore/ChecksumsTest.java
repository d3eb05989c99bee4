package dev.baton.coordinator.objectstore;

import static org.assertj.core.api.Assertions.assertThat;

import dev.baton.v1.UploadContent;
import dev.baton.v1.UploadPart;
import java.io.ByteArrayInputStream;
import java.nio.charset.StandardCharsets;
import org.junit.jupiter.api.Test;

class ChecksumsTest {
  // CRC-32C of "123456789".
  private static final UploadPart PART =
      UploadPart.newBuilder().setBytes(9).setCrc32C(0xe3069283).build();

  @Test
  void asS3WritesThem() {
    assertThat(Checksums.of(PART)).isEqualTo("4waSgw==");
    assertThat(Checksums.of(UploadContent.newBuilder().addParts(PART).build()))
        .isEqualTo("4waSgw==");
    assertThat(Checksums.of(UploadContent.newBuilder().addParts(PART).addParts(PART).build()))
        .endsWith("-2");
  }

  @Test
  void streamsAreComparedPartByPart() throws Exception {
    UploadContent two = UploadContent.newBuilder().addParts(PART).addParts(PART).build();
    assertThat(match(two, "123456789123456789")).isTrue();
    assertThat(match(two, "123456789123456780")).isFalse();
    assertThat(match(two, "12345678912345678")).isFalse();
    assertThat(match(two, "1234567891234567891")).isFalse();
  }

  private static boolean match(UploadContent content, String text) throws Exception {
    return Checksums.match(
        content, new ByteArrayInputStream(text.getBytes(StandardCharsets.UTF_8)));
  }
}
