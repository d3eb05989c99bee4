package dev.baton.dataset;

/**
 * A decoded picture.
 *
 * @param pixels {@code [channels, height, width]}, one byte each; the array is not copied
 */
@SuppressWarnings("ArrayRecordComponent") // a carrier of bytes, never compared
public record Picture(int channels, int height, int width, byte[] pixels) {

  /** The most pixels (height times width) that a picture may have. */
  public static final int MAX_PIXELS = 1 << 25;

  public Picture {
    if (pixels.length != channels * height * width) {
      throw new IllegalArgumentException(
          pixels.length + " bytes for " + channels + "x" + height + "x" + width);
    }
  }

  /** A gray picture with its plane repeated for each channel; others are given back as they are. */
  public Picture withChannels(int wanted) {
    if (channels == wanted || channels != 1) {
      return this;
    }
    byte[] repeated = new byte[wanted * pixels.length];
    for (int c = 0; c < wanted; c++) {
      System.arraycopy(pixels, 0, repeated, c * pixels.length, pixels.length);
    }
    return new Picture(wanted, height, width, repeated);
  }
}
