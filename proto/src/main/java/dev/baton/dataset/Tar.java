package dev.baton.dataset;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.jspecify.annotations.Nullable;

/**
 * The table of contents of a tar file (POSIX ustar and pax, GNU long names): where each file's
 * bytes lie, without reading them. What has no place among samples (links, devices, paths that
 * climb out) is refused.
 */
final class Tar {
  private static final int BLOCK = 512;
  private static final int WINDOW = 1 << 17;
  private static final int MAX_EXTENSION = 1 << 20;

  /**
   * A file or folder.
   *
   * @param path relative, normalised: no {@code .}, no {@code ..}
   * @param offset of its first byte in the tar
   */
  record Entry(String path, boolean directory, long offset, long size) {}

  private final RawFile file;
  private final byte[] window = new byte[WINDOW];
  private long windowAt;
  private int windowBytes;

  private Tar(RawFile file) {
    this.file = file;
  }

  /** The path in a tar's first header; empty where the file is no tar. */
  static String firstPath(Path path) throws IOException {
    byte[] head = RawFile.head(path, path.toString(), BLOCK);
    return head.length == BLOCK && checksumFits(head, 0) ? cString(head, 0, 100) : "";
  }

  /** Every file and folder, as they lie. */
  static List<Entry> entries(RawFile file) throws IOException {
    return new Tar(file).read();
  }

  private List<Entry> read() throws IOException {
    List<Entry> entries = new ArrayList<>();
    String longPath = null;
    long longSize = -1;
    long at = 0;
    // A tar ends with zeros: one that does not may have lost files.
    while (true) {
      int header = fill(at);
      if (isZero(header)) {
        return entries;
      }
      if (!checksumFits(window, header)) {
        throw new DatasetException(
            at == 0
                ? file.name() + " is no tar file"
                : file.name() + " is damaged: there is no tar header at byte " + at);
      }
      char type = (char) window[header + 156];
      // A pax size belongs to the file that it precedes, not to further extensions.
      boolean extension = type == 'x' || type == 'g' || type == 'L' || type == 'K';
      String path = longPath != null && !extension ? longPath : path(header);
      long size =
          longSize >= 0 && !extension ? longSize : number(header + 124, 12, "size of " + path);
      long offset = at + BLOCK;
      if (size > file.size() - offset) {
        throw new DatasetException(file.name() + " is cut short: it ends within " + path);
      }
      switch (type) {
        case 'L' -> longPath = cString(extension(offset, size, path), 0, (int) size);
        case 'x' -> {
          Map<String, String> pax = pax(extension(offset, size, path));
          longPath = pax.getOrDefault("path", longPath);
          longSize = paxSize(pax.get("size"), longSize);
          if (pax.keySet().stream().anyMatch(k -> k.startsWith("GNU.sparse."))) {
            throw new DatasetException(file.name() + " holds a sparse file; pack it plainly");
          }
        }
        case 'g', 'K' -> {} // nothing in them concerns plain files
        case '0', '\0', '7', '5' -> {
          boolean directory = type == '5' || path.endsWith("/");
          String normal = normalise(path);
          if (!normal.isEmpty()) {
            entries.add(new Entry(normal, directory, offset, size));
          }
          if (entries.size() > DatasetReaders.MAX_SAMPLES) {
            throw new DatasetException(
                file.name() + " holds more than " + DatasetReaders.MAX_SAMPLES + " files");
          }
        }
        case '1', '2' ->
            throw new DatasetException(
                file.name() + ": " + path + " is a link; pack the file that it points to");
        default ->
            throw new DatasetException(
                file.name() + ": " + path + " is no plain file (type " + (int) type + ")");
      }
      if (!extension) {
        longPath = null;
        longSize = -1;
      }
      at = offset + (size + BLOCK - 1) / BLOCK * BLOCK;
    }
  }

  /** Where in the window the block at a position lies. */
  private int fill(long at) throws IOException {
    if (at + BLOCK > file.size()) {
      throw new DatasetException(
          file.name() + " is cut short at byte " + file.size() + ": it lacks its end");
    }
    if (at < windowAt || at + BLOCK > windowAt + windowBytes) {
      windowBytes = (int) Math.min(WINDOW, file.size() - at);
      windowAt = at;
      file.read(at, ByteBuffer.wrap(window, 0, windowBytes));
    }
    return (int) (at - windowAt);
  }

  private byte[] extension(long offset, long size, String path) throws IOException {
    if (size > MAX_EXTENSION) {
      throw new DatasetException(
          file.name() + ": the header before " + path + " takes " + size + " bytes");
    }
    return file.read(offset, (int) size);
  }

  private boolean isZero(int from) {
    for (int i = from; i < from + BLOCK; i++) {
      if (window[i] != 0) {
        return false;
      }
    }
    return true;
  }

  private static boolean checksumFits(byte[] bytes, int from) {
    long sum = 0;
    for (int i = 0; i < BLOCK; i++) {
      sum += i >= 148 && i < 156 ? ' ' : bytes[from + i] & 0xFF;
    }
    return sum == octal(bytes, from + 148, 8);
  }

  /** -1 where there is none. */
  private static long octal(byte[] bytes, int from, int length) {
    int at = from;
    int end = from + length;
    while (at < end && bytes[at] == ' ') {
      at++;
    }
    if (at == end || bytes[at] < '0' || bytes[at] > '7') {
      return -1;
    }
    long value = 0;
    while (at < end && bytes[at] >= '0' && bytes[at] <= '7') {
      value = value * 8 + bytes[at++] - '0'; // at most 36 bits: 12 digits
    }
    return value;
  }

  private long number(int from, int length, String what) {
    long value;
    if ((window[from] & 0x80) == 0) {
      value = octal(window, from, length);
    } else {
      // GNU: big-endian binary behind a set bit; more than 62 bits would not be a file's size.
      value = window[from] & 0x3F;
      for (int i = from + 1; i < from + length && value >= 0; i++) {
        value = value >= 1L << 54 ? -1 : (value << 8) | (window[i] & 0xFF);
      }
    }
    if (value < 0) {
      throw new DatasetException(file.name() + " is damaged: no number for the " + what);
    }
    return value;
  }

  private String path(int header) {
    String name = cString(window, header, 100);
    boolean posix = cString(window, header + 257, 6).equals("ustar") && window[header + 262] == 0;
    String prefix = posix ? cString(window, header + 345, 155) : "";
    return prefix.isEmpty() ? name : prefix + "/" + name;
  }

  private static String cString(byte[] bytes, int from, int length) {
    int end = from;
    while (end < from + length && bytes[end] != 0) {
      end++;
    }
    return new String(bytes, from, end - from, StandardCharsets.UTF_8);
  }

  /** Records "length key=value\n", the length counting the whole record. */
  private Map<String, String> pax(byte[] bytes) {
    Map<String, String> records = new TreeMap<>();
    int at = 0;
    while (at < bytes.length && bytes[at] != 0) {
      int space = at;
      int length = 0;
      while (space < bytes.length
          && bytes[space] >= '0'
          && bytes[space] <= '9'
          && length < 1 << 24) {
        length = length * 10 + bytes[space++] - '0';
      }
      int end = at + length;
      int equals = space;
      while (equals < Math.min(end, bytes.length) && bytes[equals] != '=') {
        equals++;
      }
      if (space == at
          || end > bytes.length
          || equals >= end
          || bytes[space] != ' '
          || bytes[end - 1] != '\n') {
        throw new DatasetException(file.name() + " is damaged: a pax header makes no sense");
      }
      records.put(
          new String(bytes, space + 1, equals - space - 1, StandardCharsets.UTF_8),
          new String(bytes, equals + 1, end - equals - 2, StandardCharsets.UTF_8));
      at = end;
    }
    return records;
  }

  private long paxSize(@Nullable String size, long otherwise) {
    if (size == null) {
      return otherwise;
    }
    if (!size.matches("[0-9]{1,18}")) {
      throw new DatasetException(file.name() + " is damaged: a pax header has size " + size);
    }
    return Long.parseLong(size);
  }

  private String normalise(String path) {
    if (path.startsWith("/")) {
      throw new DatasetException(
          file.name() + ": " + path + " is absolute; paths must lie below the tar's folder");
    }
    List<String> parts = new ArrayList<>();
    for (String part : path.split("/", -1)) {
      if (part.equals("..")) {
        throw new DatasetException(file.name() + ": " + path + " climbs out of the tar's folder");
      }
      if (!part.isEmpty() && !part.equals(".")) {
        parts.add(part);
      }
    }
    return String.join("/", parts);
  }
}
