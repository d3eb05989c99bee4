package dev.baton.worker.data;

import dev.baton.dataset.Picture;

/**
 * Pillow's {@code Image.resize} with BILINEAR, to the bit: a triangle filter widened by the scale
 * where it shrinks (that is the antialiasing), in fixed point of 22 bits, rows first, then columns,
 * each rounded to bytes (Pillow, src/libImaging/Resample.c).
 */
public final class BilinearResize {
  /** Fractional bits of a weight. */
  public static final int PRECISION_BITS = 32 - 8 - 2;

  private static final int HALF = 1 << (PRECISION_BITS - 1);

  private BilinearResize() {}

  /** The picture at another size; itself where it has that size. */
  static Picture resize(Picture picture, int height, int width) {
    Picture wide = picture.width() == width ? picture : horizontally(picture, width);
    return wide.height() == height ? wide : vertically(wide, height);
  }

  private static Picture horizontally(Picture in, int width) {
    Weights weights = Weights.of(in.width(), width);
    int rows = in.channels() * in.height();
    byte[] from = in.pixels();
    byte[] to = new byte[Math.multiplyExact(rows, width)];
    for (int row = 0; row < rows; row++) {
      int base = row * in.width();
      for (int x = 0; x < width; x++) {
        int first = base + weights.first[x];
        int sum = HALF;
        for (int k = 0; k < weights.count[x]; k++) {
          sum += (from[first + k] & 0xFF) * weights.of[x * weights.stride + k];
        }
        to[row * width + x] = clip(sum);
      }
    }
    return new Picture(in.channels(), in.height(), width, to);
  }

  private static Picture vertically(Picture in, int height) {
    Weights weights = Weights.of(in.height(), height);
    int width = in.width();
    byte[] from = in.pixels();
    byte[] to = new byte[Math.multiplyExact(in.channels() * height, width)];
    int[] sums = new int[width];
    for (int c = 0; c < in.channels(); c++) {
      for (int y = 0; y < height; y++) {
        java.util.Arrays.fill(sums, HALF);
        for (int k = 0; k < weights.count[y]; k++) {
          int weight = weights.of[y * weights.stride + k];
          int row = (c * in.height() + weights.first[y] + k) * width;
          for (int x = 0; x < width; x++) {
            sums[x] += (from[row + x] & 0xFF) * weight;
          }
        }
        int row = (c * height + y) * width;
        for (int x = 0; x < width; x++) {
          to[row + x] = clip(sums[x]);
        }
      }
    }
    return new Picture(in.channels(), height, width, to);
  }

  /**
   * The weights of one pass as a matrix, for those who resize by a product: output j of a row is
   * the sum over i of input i times {@code [j][i]}, plus half, without its lowest {@link
   * #PRECISION_BITS} bits, clipped to a byte.
   *
   * @return {@code [out, in]}, rows first; integers, which a float holds exactly
   */
  public static float[] matrix(int in, int out) {
    Weights weights = Weights.of(in, out);
    float[] matrix = new float[Math.multiplyExact(in, out)];
    for (int j = 0; j < out; j++) {
      for (int k = 0; k < weights.count[j]; k++) {
        matrix[j * in + weights.first[j] + k] = weights.of[j * weights.stride + k];
      }
    }
    return matrix;
  }

  private static byte clip(int sum) {
    return (byte) Math.max(0, Math.min(255, sum >> PRECISION_BITS));
  }

  /** What each output element is made of: {@code count} inputs from {@code first} on. */
  @SuppressWarnings("ArrayRecordComponent") // never compared
  private record Weights(int[] first, int[] count, int[] of, int stride) {
    static Weights of(int in, int out) {
      double scale = (double) in / out;
      double filterScale = Math.max(scale, 1);
      double support = filterScale;
      int stride = (int) Math.ceil(support) * 2 + 1;
      int[] first = new int[out];
      int[] count = new int[out];
      int[] fixed = new int[Math.multiplyExact(out, stride)];
      double[] weights = new double[stride];
      for (int x = 0; x < out; x++) {
        double center = (x + 0.5) * scale;
        int min = Math.max((int) (center - support + 0.5), 0);
        int max = Math.min((int) (center + support + 0.5), in);
        double sum = 0;
        for (int k = 0; k < max - min; k++) {
          double distance = Math.abs((k + min - center + 0.5) * (1 / filterScale));
          weights[k] = distance < 1 ? 1 - distance : 0;
          sum += weights[k];
        }
        for (int k = 0; k < max - min; k++) {
          double weight = sum == 0 ? weights[k] : weights[k] / sum;
          fixed[x * stride + k] = (int) (0.5 + weight * (1 << PRECISION_BITS));
        }
        first[x] = min;
        count[x] = max - min;
      }
      return new Weights(first, count, fixed, stride);
    }
  }
}
