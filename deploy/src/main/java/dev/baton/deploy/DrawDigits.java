package dev.baton.deploy;

import java.awt.BasicStroke;
import java.awt.Color;
import java.awt.Graphics2D;
import java.awt.RenderingHints;
import java.awt.geom.AffineTransform;
import java.awt.geom.Arc2D;
import java.awt.geom.Path2D;
import java.awt.image.BufferedImage;
import java.awt.image.DataBufferByte;
import java.io.DataOutputStream;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Random;
import java.util.zip.GZIPOutputStream;

/**
 * Draws pictures of handwritten-looking digits where there are none: 28x28, gray, as strokes of
 * random pose, thickness and noise, in the files and format of MNIST (IDX, gzip). The same seed
 * draws the same pictures.
 */
final class DrawDigits {
  private static final int SIZE = 28;

  /** The strokes of each digit, in a square of side 1 with y downwards. */
  private static final List<Path2D> DIGITS =
      List.of(
          path(arc(0.22, 0.08, 0.56, 0.84, 90, 360)),
          path(line(0.34, 0.26, 0.54, 0.08), line(0.54, 0.08, 0.54, 0.92)),
          path(
              arc(0.24, 0.08, 0.52, 0.44, 170, -200),
              line(0.70, 0.42, 0.24, 0.92),
              line(0.24, 0.92, 0.80, 0.92)),
          path(arc(0.26, 0.08, 0.46, 0.40, 150, -240), arc(0.22, 0.48, 0.54, 0.44, 90, -250)),
          path(
              line(0.60, 0.08, 0.20, 0.62),
              line(0.20, 0.62, 0.82, 0.62),
              line(0.62, 0.36, 0.62, 0.94)),
          path(
              line(0.72, 0.08, 0.32, 0.08),
              line(0.32, 0.08, 0.28, 0.46),
              arc(0.20, 0.38, 0.56, 0.54, 130, -270)),
          path(line(0.62, 0.06, 0.28, 0.56), arc(0.24, 0.44, 0.50, 0.48, 180, 360)),
          path(line(0.22, 0.10, 0.78, 0.10), line(0.78, 0.10, 0.42, 0.94)),
          path(arc(0.28, 0.06, 0.44, 0.40, 90, 360), arc(0.23, 0.46, 0.54, 0.46, 90, 360)),
          path(arc(0.26, 0.08, 0.48, 0.46, 0, 360), line(0.74, 0.30, 0.60, 0.94)));

  private DrawDigits() {}

  private static java.awt.Shape line(double x1, double y1, double x2, double y2) {
    return new java.awt.geom.Line2D.Double(x1, y1, x2, y2);
  }

  private static java.awt.Shape arc(
      double x, double y, double w, double h, double start, double extent) {
    return new Arc2D.Double(x, y, w, h, start, extent, Arc2D.OPEN);
  }

  private static Path2D path(java.awt.Shape... strokes) {
    Path2D path = new Path2D.Double();
    for (java.awt.Shape stroke : strokes) {
      path.append(stroke, false);
    }
    return path;
  }

  /**
   * Writes the four files of a data set.
   *
   * @param dir where; made if need be
   * @param train pictures to train on
   * @param test pictures to test on
   */
  static void write(Path dir, int train, int test, long seed) throws IOException {
    Files.createDirectories(dir);
    Random random = new Random(seed);
    writeSplit(dir, "train", train, random);
    writeSplit(dir, "t10k", test, random);
  }

  private static void writeSplit(Path dir, String split, int count, Random random)
      throws IOException {
    try (DataOutputStream images = open(dir.resolve(split + "-images-idx3-ubyte.gz"));
        DataOutputStream labels = open(dir.resolve(split + "-labels-idx1-ubyte.gz"))) {
      images.writeInt(0x0803);
      images.writeInt(count);
      images.writeInt(SIZE);
      images.writeInt(SIZE);
      labels.writeInt(0x0801);
      labels.writeInt(count);
      for (int i = 0; i < count; i++) {
        int digit = random.nextInt(10);
        images.write(draw(digit, random));
        labels.writeByte(digit);
      }
    }
  }

  private static DataOutputStream open(Path file) throws IOException {
    return new DataOutputStream(new GZIPOutputStream(Files.newOutputStream(file), 1 << 16));
  }

  /** One picture, {@code [28, 28]}, white on black. */
  private static byte[] draw(int digit, Random random) {
    BufferedImage image = new BufferedImage(SIZE, SIZE, BufferedImage.TYPE_BYTE_GRAY);
    Graphics2D g = image.createGraphics();
    g.setRenderingHint(RenderingHints.KEY_ANTIALIASING, RenderingHints.VALUE_ANTIALIAS_ON);
    g.setRenderingHint(RenderingHints.KEY_STROKE_CONTROL, RenderingHints.VALUE_STROKE_PURE);
    double scale = 15 + 8 * random.nextDouble();
    AffineTransform pose = new AffineTransform();
    pose.translate(
        SIZE / 2.0 + 7 * (random.nextDouble() - 0.5), SIZE / 2.0 + 7 * (random.nextDouble() - 0.5));
    pose.rotate(Math.toRadians(44 * (random.nextDouble() - 0.5)));
    pose.shear(0.5 * (random.nextDouble() - 0.5), 0);
    pose.scale(scale * (0.75 + 0.5 * random.nextDouble()), scale);
    pose.translate(-0.5, -0.5);
    g.setColor(Color.WHITE);
    g.setStroke(
        new BasicStroke(
            (float) (1.2 + 2.3 * random.nextDouble()),
            BasicStroke.CAP_ROUND,
            BasicStroke.JOIN_ROUND));
    g.draw(pose.createTransformedShape(DIGITS.get(digit)));
    g.dispose();
    byte[] pixels = ((DataBufferByte) image.getRaster().getDataBuffer()).getData();
    double ink = 0.6 + 0.4 * random.nextDouble();
    for (int i = 0; i < pixels.length; i++) {
      double value = (pixels[i] & 0xFF) * ink + 24 * random.nextGaussian();
      pixels[i] = (byte) Math.max(0, Math.min(255, Math.round(value)));
    }
    return pixels;
  }
}
