package dev.baton.dataset;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.awt.image.BufferedImage;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.util.Arrays;
import java.util.Objects;
import java.util.zip.CRC32;
import javax.imageio.ImageIO;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class PictureDecoderTest {
  private static final PictureDecoder DECODER = PictureDecoder.ofThread();

  private static byte[] resource(String name) throws IOException {
    try (InputStream in = PictureDecoderTest.class.getResourceAsStream(name)) {
      return Objects.requireNonNull(in, name).readAllBytes();
    }
  }

  @ParameterizedTest
  @CsvSource({
    "rgb.jpg, 3, 3",
    "gray.jpg, 1, 3",
    "rgb.png, 3, 0",
    "gray.png, 1, 0",
    "bilevel.png, 1, 0",
    "palette.png, 3, 0",
    "alpha.png, 3, 0",
    "gray-alpha.png, 1, 0",
    "gray16.png, 1, 0",
  })
  void decodesWhatPillowDecodes(String name, int channels, int tolerance) throws IOException {
    Picture picture = DECODER.decode(resource(name), name);
    assertThat(picture.channels()).isEqualTo(channels);
    assertThat(picture.height()).isEqualTo(12);
    assertThat(picture.width()).isEqualTo(17);
    byte[] expected = resource(name + ".planes");
    assertThat(picture.pixels()).hasSameSizeAs(expected);
    for (int i = 0; i < expected.length; i++) {
      // JPEG decoders may differ by a few levels.
      assertThat(Math.abs((picture.pixels()[i] & 0xFF) - (expected[i] & 0xFF)))
          .as("byte %d", i)
          .isLessThanOrEqualTo(tolerance);
    }
  }

  @Test
  void readsRgbOfSixteenBits() throws IOException {
    // ImageIO has no ready-made image of that kind; PNG is simple enough.
    ByteArrayOutputStream rows = new ByteArrayOutputStream();
    try (var deflate = new java.util.zip.DeflaterOutputStream(rows)) {
      deflate.write(new byte[] {0, 1, -1, 2, -1, 3, -1});
    }
    ByteBuffer png = ByteBuffer.allocate(500);
    png.put(new byte[] {(byte) 0x89, 'P', 'N', 'G', '\r', '\n', 0x1A, '\n'});
    chunk(png, "IHDR", new byte[] {0, 0, 0, 1, 0, 0, 0, 1, 16, 2, 0, 0, 0});
    chunk(png, "IDAT", rows.toByteArray());
    chunk(png, "IEND", new byte[0]);
    Picture picture = DECODER.decode(Arrays.copyOf(png.array(), png.position()), "x");
    assertThat(picture.pixels()).containsExactly(1, 2, 3);
  }

  private static void chunk(ByteBuffer png, String type, byte[] data) {
    CRC32 crc = new CRC32();
    byte[] name = type.getBytes(java.nio.charset.StandardCharsets.US_ASCII);
    crc.update(name);
    crc.update(data);
    png.putInt(data.length).put(name).put(data).putInt((int) crc.getValue());
  }

  @ParameterizedTest
  @ValueSource(strings = {"rgb.jpg", "gray.jpg", "rgb.png", "palette.png"})
  void aTruncatedPictureDoesNotDecode(String name) throws IOException {
    byte[] whole = resource(name);
    for (int length : new int[] {0, 1, 8, whole.length / 2, whole.length * 3 / 4}) {
      assertThatThrownBy(() -> DECODER.decode(Arrays.copyOf(whole, length), "cat/1"))
          .as("%d bytes", length)
          .isInstanceOf(DatasetException.class)
          .hasMessageStartingWith("cat/1 ");
    }
    assertThat(DECODER.decode(whole, name).height()).isEqualTo(12);
  }

  @Test
  void fourColoursAreRefused() throws IOException {
    byte[] cmyk = resource("cmyk.jpg");
    assertThatThrownBy(() -> DECODER.decode(cmyk, "cmyk.jpg"))
        .isInstanceOf(DatasetException.class)
        .hasMessageStartingWith("cmyk.jpg ");
  }

  @Test
  void aHugeDeclaredSizeIsRefusedBeforeItIsAllocated() throws IOException {
    ByteArrayOutputStream small = new ByteArrayOutputStream();
    ImageIO.write(new BufferedImage(2, 2, BufferedImage.TYPE_3BYTE_BGR), "png", small);
    byte[] bytes = small.toByteArray();
    ByteBuffer.wrap(bytes).putInt(16, 60_000).putInt(20, 60_000);
    assertThatThrownBy(() -> DECODER.decode(bytes, "bomb.png"))
        .isInstanceOf(DatasetException.class)
        .hasMessage("bomb.png has 60000x60000 pixels; at most 33554432 are read");
  }

  @Test
  void otherFilesAreTold() {
    assertThatThrownBy(
            () ->
                DECODER.decode(
                    "GIF89a".getBytes(java.nio.charset.StandardCharsets.US_ASCII), "a.png"))
        .isInstanceOf(DatasetException.class)
        .hasMessage("a.png is neither a JPEG nor a PNG file");
  }
}
