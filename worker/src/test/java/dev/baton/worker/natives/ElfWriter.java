package dev.baton.worker.natives;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** Writes the smallest shared libraries that the dynamic linker could read about. */
public final class ElfWriter {
  private static final int BASE = 0x10000;
  private static final int HEADERS = 64 + 2 * 56;

  private final ByteArrayOutputStream strings = new ByteArrayOutputStream();
  private final Map<String, Integer> offsets = new LinkedHashMap<>();
  private final List<long[]> dynamic = new ArrayList<>();
  private final Map<String, List<String>> versionsNeeded = new LinkedHashMap<>();
  private final List<String> versionsDefined = new ArrayList<>();

  public ElfWriter() {
    strings.write(0);
  }

  ElfWriter soname(String name) {
    dynamic.add(new long[] {14, string(name)});
    return this;
  }

  public ElfWriter needs(String... names) {
    for (String name : names) {
      dynamic.add(new long[] {1, string(name)});
    }
    return this;
  }

  ElfWriter runPath(String path) {
    dynamic.add(new long[] {29, string(path)});
    return this;
  }

  ElfWriter needsVersions(String library, String... versions) {
    versionsNeeded.put(library, List.of(versions));
    return this;
  }

  ElfWriter definesVersions(String... versions) {
    versionsDefined.addAll(List.of(versions));
    return this;
  }

  private int string(String text) {
    return offsets.computeIfAbsent(
        text,
        key -> {
          int at = strings.size();
          strings.writeBytes(key.getBytes(StandardCharsets.UTF_8));
          strings.write(0);
          return at;
        });
  }

  /** Headers, the dynamic section, versions needed, versions defined, strings. */
  byte[] bytes() {
    byte[] needed = needed();
    byte[] defined = defined();
    int entries = dynamic.size() + 2 + (needed.length > 0 ? 1 : 0) + (defined.length > 0 ? 1 : 0);
    int neededAt = HEADERS + 16 * entries;
    int definedAt = neededAt + needed.length;
    int stringsAt = definedAt + defined.length;
    List<long[]> all = new ArrayList<>(dynamic);
    all.add(new long[] {5, BASE + stringsAt});
    if (needed.length > 0) {
      all.add(new long[] {0x6ffffffe, BASE + neededAt});
    }
    if (defined.length > 0) {
      all.add(new long[] {0x6ffffffc, BASE + definedAt});
    }
    all.add(new long[] {0, 0});
    int size = stringsAt + strings.size();
    ByteBuffer file = ByteBuffer.allocate(size).order(ByteOrder.LITTLE_ENDIAN);
    file.put(new byte[] {0x7f, 'E', 'L', 'F', 2, 1, 1});
    file.putShort(16, (short) 3).putShort(18, (short) 62).putInt(20, 1).putLong(32, 64);
    file.putShort(52, (short) 64).putShort(54, (short) 56).putShort(56, (short) 2);
    programHeader(file, 64, 1, 0, size);
    programHeader(file, 64 + 56, 2, HEADERS, 16L * entries);
    file.position(HEADERS);
    all.forEach(entry -> file.putLong(entry[0]).putLong(entry[1]));
    file.put(needed).put(defined).put(strings.toByteArray());
    return file.array();
  }

  private static void programHeader(ByteBuffer file, int at, int type, long offset, long size) {
    file.putInt(at, type).putLong(at + 8, offset).putLong(at + 16, BASE + offset);
    file.putLong(at + 32, size).putLong(at + 40, size);
  }

  private byte[] needed() {
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    int left = versionsNeeded.size();
    for (var library : versionsNeeded.entrySet()) {
      int count = library.getValue().size();
      ByteBuffer need = ByteBuffer.allocate(16 + 16 * count).order(ByteOrder.LITTLE_ENDIAN);
      need.putShort((short) 1).putShort((short) count).putInt(string(library.getKey()));
      need.putInt(16).putInt(--left == 0 ? 0 : need.capacity());
      for (int i = 0; i < count; i++) {
        need.putInt(0).putInt(0).putInt(string(library.getValue().get(i)));
        need.putInt(i == count - 1 ? 0 : 16);
      }
      out.writeBytes(need.array());
    }
    return out.toByteArray();
  }

  private byte[] defined() {
    ByteBuffer out =
        ByteBuffer.allocate(28 * versionsDefined.size()).order(ByteOrder.LITTLE_ENDIAN);
    for (int i = 0; i < versionsDefined.size(); i++) {
      out.putShort((short) 1).putShort((short) 0).putShort((short) i).putShort((short) 1);
      out.putInt(0).putInt(20).putInt(i == versionsDefined.size() - 1 ? 0 : 28);
      out.putInt(string(versionsDefined.get(i))).putInt(0);
    }
    return out.array();
  }

  public void write(Path file) throws IOException {
    Files.createDirectories(file.toAbsolutePath().getParent());
    Files.write(file, bytes());
  }
}
