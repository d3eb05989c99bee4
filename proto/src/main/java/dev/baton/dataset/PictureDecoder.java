package dev.baton.dataset;

import java.awt.image.BufferedImage;
import java.awt.image.ColorModel;
import java.awt.image.DataBufferByte;
import java.awt.image.IndexColorModel;
import java.awt.image.PixelInterleavedSampleModel;
import java.awt.image.Raster;
import java.io.IOException;
import javax.imageio.ImageIO;
import javax.imageio.ImageReader;
import javax.imageio.event.IIOReadWarningListener;
import javax.imageio.stream.ImageInputStreamImpl;
import org.jspecify.annotations.Nullable;

/**
 * Decodes JPEG and PNG to planes of bytes: gray ones to one, all others to red, green, blue.
 * Transparency is dropped, palettes are expanded, 16 bits reduced to the upper 8. Samples are taken
 * from the raster: {@code getRGB} would bend gray ones through a colour space. One thread at a
 * time.
 */
final class PictureDecoder {
  private static final ThreadLocal<PictureDecoder> OF_THREAD =
      ThreadLocal.withInitial(PictureDecoder::new);

  private final Codec jpeg = new Codec("jpeg");
  private final Codec png = new Codec("png");

  private PictureDecoder() {}

  /** The calling thread's. */
  static PictureDecoder ofThread() {
    return OF_THREAD.get();
  }

  /**
   * Decodes a file's bytes.
   *
   * @throws DatasetException where it does not decode; the message begins with {@code name}
   */
  Picture decode(byte[] bytes, String name) {
    if (startsWith(bytes, 0xFF, 0xD8, 0xFF)) {
      return jpeg.decode(bytes, name);
    }
    if (startsWith(bytes, 0x89, 'P', 'N', 'G')) {
      return png.decode(bytes, name);
    }
    throw new DatasetException(name + " is neither a JPEG nor a PNG file");
  }

  private static boolean startsWith(byte[] bytes, int... magic) {
    for (int i = 0; i < magic.length; i++) {
      if (i >= bytes.length || (bytes[i] & 0xFF) != magic[i]) {
        return false;
      }
    }
    return true;
  }

  private static final class Codec implements IIOReadWarningListener {
    private final String format;
    private @Nullable ImageReader reader;
    private @Nullable String damage;

    Codec(String format) {
      this.format = format;
    }

    Picture decode(byte[] bytes, String name) {
      ImageReader current = reader;
      if (current == null) {
        current = ImageIO.getImageReadersByFormatName(format).next();
        current.addIIOReadWarningListener(this);
        reader = current;
      }
      damage = null;
      try {
        current.setInput(new Bytes(bytes), true, true);
        int width = current.getWidth(0);
        int height = current.getHeight(0);
        if ((long) width * height > Picture.MAX_PIXELS) {
          throw new DatasetException(
              String.format(
                  "%s has %dx%d pixels; at most %d are read",
                  name, height, width, Picture.MAX_PIXELS));
        }
        BufferedImage image = current.read(0);
        if (damage != null) {
          throw new DatasetException(name + " does not decode: " + damage);
        }
        current.setInput(null);
        return planes(image, name);
      } catch (IOException | RuntimeException e) {
        // The codecs throw nearly anything on damaged input, and may not be fit for more.
        reader = null;
        current.dispose();
        if (e instanceof DatasetException known) {
          throw known;
        }
        throw new DatasetException(name + " does not decode: " + e.getMessage(), e);
      }
    }

    /** libjpeg goes on with gray where data ends early: that is no picture to train on. */
    @Override
    public void warningOccurred(ImageReader source, String warning) {
      if (warning.contains("remature end") || warning.contains("bad Huffman")) {
        damage = warning;
      }
    }
  }

  private static Picture planes(BufferedImage image, String name) {
    ColorModel colours = image.getColorModel();
    Raster raster = image.getRaster();
    if (colours instanceof IndexColorModel palette) {
      return expand(raster, palette);
    }
    int channels = colours.getNumColorComponents();
    if (channels != 1 && channels != 3) {
      throw new DatasetException(
          name + " has " + channels + " colour channels; save it as RGB or gray");
    }
    int height = raster.getHeight();
    int width = raster.getWidth();
    byte[] planes = new byte[channels * height * width];
    if (raster.getSampleModel() instanceof PixelInterleavedSampleModel model
        && raster.getDataBuffer() instanceof DataBufferByte buffer
        && raster.getParent() == null) {
      deinterleave(buffer.getData(), model, channels, height, width, planes);
    } else {
      int[] row = new int[width];
      int at = 0;
      for (int c = 0; c < channels; c++) {
        int shift = raster.getSampleModel().getSampleSize(c) - 8;
        for (int y = 0; y < height; y++) {
          raster.getSamples(0, y, width, 1, c, row);
          for (int x = 0; x < width; x++) {
            planes[at++] = (byte) (shift >= 0 ? row[x] >> shift : row[x] << -shift);
          }
        }
      }
    }
    return new Picture(channels, height, width, planes);
  }

  private static void deinterleave(
      byte[] data,
      PixelInterleavedSampleModel model,
      int channels,
      int height,
      int width,
      byte[] planes) {
    int step = model.getPixelStride();
    int at = 0;
    for (int c = 0; c < channels; c++) {
      for (int y = 0; y < height; y++) {
        int from = y * model.getScanlineStride() + model.getBandOffsets()[c];
        for (int x = 0; x < width; x++, from += step) {
          planes[at++] = data[from];
        }
      }
    }
  }

  private static Picture expand(Raster raster, IndexColorModel palette) {
    int size = palette.getMapSize();
    byte[][] colours = new byte[3][size];
    palette.getReds(colours[0]);
    palette.getGreens(colours[1]);
    palette.getBlues(colours[2]);
    boolean gray =
        java.util.Arrays.equals(colours[0], colours[1])
            && java.util.Arrays.equals(colours[1], colours[2]);
    int channels = gray ? 1 : 3;
    int height = raster.getHeight();
    int width = raster.getWidth();
    byte[] planes = new byte[channels * height * width];
    int[] row = new int[width];
    for (int y = 0; y < height; y++) {
      raster.getSamples(0, y, width, 1, 0, row);
      for (int c = 0; c < channels; c++) {
        int at = (c * height + y) * width;
        for (int x = 0; x < width; x++) {
          // An index beyond the palette is black, as libpng has it.
          planes[at + x] = row[x] < size ? colours[c][row[x]] : 0;
        }
      }
    }
    return new Picture(channels, height, width, planes);
  }

  /** A file in memory; the platform's own streams copy it through a cache. */
  private static final class Bytes extends ImageInputStreamImpl {
    private final byte[] bytes;

    Bytes(byte[] bytes) {
      this.bytes = bytes;
    }

    @Override
    public int read() {
      bitOffset = 0;
      return streamPos < bytes.length ? bytes[(int) streamPos++] & 0xFF : -1;
    }

    @Override
    public int read(byte[] target, int offset, int length) {
      bitOffset = 0;
      int n = (int) Math.min(length, bytes.length - streamPos);
      if (n <= 0) {
        return length == 0 ? 0 : -1;
      }
      System.arraycopy(bytes, (int) streamPos, target, offset, n);
      streamPos += n;
      return n;
    }

    @Override
    public long length() {
      return bytes.length;
    }
  }
}
