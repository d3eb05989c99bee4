package dev.baton.transfer;

import static org.assertj.core.api.Assertions.assertThat;

import dev.baton.v1.UploadContent;
import dev.baton.v1.UploadPart;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class ContentsTest {
  @TempDir Path dir;

  @Test
  void knownDigests() throws Exception {
    // RFC 3720, B.4 has CRC-32C of 32 bytes of zeros; "123456789" is the customary check value.
    Path file = Files.write(dir.resolve("f"), "123456789".getBytes(StandardCharsets.UTF_8));
    UploadContent content = Contents.describe(file);
    assertThat(content.getBytes()).isEqualTo(9);
    assertThat(content.getSha256())
        .isEqualTo("15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225");
    assertThat(content.getPartsList())
        .containsExactly(UploadPart.newBuilder().setBytes(9).setCrc32C(0xe3069283).build());

    Files.write(file, new byte[32]);
    assertThat(Contents.describe(file).getParts(0).getCrc32C()).isEqualTo(0x8a9136aa);
  }

  @Test
  void anEmptyFileHasOneEmptyPart() throws Exception {
    UploadContent content = Contents.describe(Files.createFile(dir.resolve("f")));
    assertThat(content.getPartsList()).containsExactly(UploadPart.getDefaultInstance());
  }

  @Test
  void partsAreEqualButForTheLast() throws Exception {
    Path file = Files.write(dir.resolve("f"), new byte[3_000_000]);
    assertThat(Contents.describe(file, 1_250_000).getPartsList())
        .extracting(UploadPart::getBytes)
        .containsExactly(1_250_000L, 1_250_000L, 500_000L);
    assertThat(Contents.describe(file, 1_500_000).getPartsList())
        .extracting(UploadPart::getBytes)
        .containsExactly(1_500_000L, 1_500_000L);
    assertThat(Contents.describe(file, 100).getPartsList()).hasSize(10_000);
  }
}
