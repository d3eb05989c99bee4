package dev.baton.worker.natives;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;

/**
 * What the dynamic linker reads in a shared library before it loads it: the dynamic section of a
 * 64-bit ELF file for x86-64 (System V ABI, chapter 5; symbol versions: Linux Standard Base).
 *
 * @param soname the name by which others need it; empty where it has none
 * @param needed the names of the libraries that it needs
 * @param runPath where it looks for them itself, DT_RUNPATH or the older DT_RPATH
 * @param versionsNeeded symbol versions that it needs (GLIBC_2.35), by the library that has them
 * @param versionsDefined symbol versions that it offers
 */
public record ElfFile(
    String soname,
    List<String> needed,
    List<String> runPath,
    Map<String, Set<String>> versionsNeeded,
    Set<String> versionsDefined) {

  // ELF-64 for little-endian machines, of type ET_DYN, for EM_X86_64.
  private static final int MAGIC = 0x464c457f;
  private static final int CLASS_64_LITTLE_ENDIAN = 0x0102;
  private static final int ET_DYN = 3;
  private static final int EM_X86_64 = 62;

  private static final int PT_LOAD = 1;
  private static final int PT_DYNAMIC = 2;

  private static final long DT_NEEDED = 1;
  private static final long DT_STRTAB = 5;
  private static final long DT_SONAME = 14;
  private static final long DT_RPATH = 15;
  private static final long DT_RUNPATH = 29;
  private static final long DT_VERDEF = 0x6ffffffc;
  private static final long DT_VERNEED = 0x6ffffffe;

  // Far beyond what any library has: a damaged file must not take memory or time.
  private static final int MOST_HEADERS = 1_000;
  private static final int MOST_DYNAMIC_BYTES = 1 << 20;
  private static final int MOST_VERSIONS = 10_000;
  private static final int MOST_NAME_BYTES = 4_096;

  /**
   * Reads a library's.
   *
   * @throws IOException in one line, where it cannot be read or is no such library
   */
  public static ElfFile read(Path file) throws IOException {
    try (FileChannel channel = FileChannel.open(file)) {
      return new Reader(file, channel).read();
    }
  }

  private record Segment(long offset, long address, long fileBytes) {}

  private static final class Reader {
    private final Path file;
    private final FileChannel channel;
    private final List<Segment> segments = new ArrayList<>();
    private long strings = -1;

    Reader(Path file, FileChannel channel) {
      this.file = file;
      this.channel = channel;
    }

    ElfFile read() throws IOException {
      ByteBuffer header = bytes(0, 64);
      if (header.getInt(0) != MAGIC
          || header.getShort(4) != CLASS_64_LITTLE_ENDIAN
          || header.getShort(16) != ET_DYN
          || header.getShort(18) != EM_X86_64) {
        throw wrong("is no shared library for x86-64");
      }
      int size = Short.toUnsignedInt(header.getShort(54));
      int count = Short.toUnsignedInt(header.getShort(56));
      if (size < 56 || count > MOST_HEADERS) {
        throw damaged();
      }
      ByteBuffer headers = bytes(header.getLong(32), size * count);
      Segment dynamic = null;
      for (int i = 0; i < count; i++) {
        int at = i * size;
        Segment segment =
            new Segment(
                headers.getLong(at + 8), headers.getLong(at + 16), headers.getLong(at + 32));
        switch (headers.getInt(at)) {
          case PT_LOAD -> segments.add(segment);
          case PT_DYNAMIC -> dynamic = segment;
          default -> {}
        }
      }
      if (dynamic == null) {
        throw damaged();
      }
      return dynamic(dynamic);
    }

    private ElfFile dynamic(Segment dynamic) throws IOException {
      if (dynamic.fileBytes < 0 || dynamic.fileBytes > MOST_DYNAMIC_BYTES) {
        throw damaged();
      }
      ByteBuffer entries = bytes(dynamic.offset, (int) dynamic.fileBytes);
      List<Long> needed = new ArrayList<>();
      Map<Long, Long> others = new LinkedHashMap<>();
      while (entries.remaining() >= 16) {
        long tag = entries.getLong();
        long value = entries.getLong();
        if (tag == 0) {
          break;
        }
        if (tag == DT_NEEDED) {
          needed.add(value);
        } else {
          others.put(tag, value);
        }
      }
      Long table = others.get(DT_STRTAB);
      if (table == null) {
        throw damaged();
      }
      strings = offset(table);
      List<String> names = new ArrayList<>();
      for (long name : needed) {
        names.add(string(name));
      }
      Long soname = others.get(DT_SONAME);
      Long runPath = others.getOrDefault(DT_RUNPATH, others.get(DT_RPATH));
      Long versionsNeeded = others.get(DT_VERNEED);
      Long versionsDefined = others.get(DT_VERDEF);
      return new ElfFile(
          soname == null ? "" : string(soname),
          List.copyOf(names),
          runPath == null ? List.of() : List.of(string(runPath).split(":")),
          versionsNeeded == null ? Map.of() : versionsNeeded(offset(versionsNeeded)),
          versionsDefined == null ? Set.of() : versionsDefined(offset(versionsDefined)));
    }

    // A chain of Elf64_Verneed, one for each library, each with a chain of Elf64_Vernaux.
    private Map<String, Set<String>> versionsNeeded(long at) throws IOException {
      Map<String, Set<String>> versions = new LinkedHashMap<>();
      int read = 0;
      while (true) {
        ByteBuffer library = bytes(at, 16);
        Set<String> names = new TreeSet<>();
        long entry = at + Integer.toUnsignedLong(library.getInt(8));
        for (int i = Short.toUnsignedInt(library.getShort(2)); i > 0; i--) {
          ByteBuffer version = bytes(entry, 16);
          names.add(string(Integer.toUnsignedLong(version.getInt(8))));
          entry += Integer.toUnsignedLong(version.getInt(12));
          if (++read > MOST_VERSIONS) {
            throw damaged();
          }
        }
        versions.put(string(Integer.toUnsignedLong(library.getInt(4))), names);
        long next = Integer.toUnsignedLong(library.getInt(12));
        if (next == 0) {
          return versions;
        }
        at += next;
        if (++read > MOST_VERSIONS) {
          throw damaged();
        }
      }
    }

    // A chain of Elf64_Verdef, each with an Elf64_Verdaux that names it first.
    private Set<String> versionsDefined(long at) throws IOException {
      Set<String> versions = new TreeSet<>();
      for (int read = 0; read < MOST_VERSIONS; read++) {
        ByteBuffer definition = bytes(at, 20);
        long name = at + Integer.toUnsignedLong(definition.getInt(12));
        versions.add(string(Integer.toUnsignedLong(bytes(name, 8).getInt(0))));
        long next = Integer.toUnsignedLong(definition.getInt(16));
        if (next == 0) {
          return versions;
        }
        at += next;
      }
      throw damaged();
    }

    private long offset(long address) throws IOException {
      for (Segment segment : segments) {
        long within = address - segment.address;
        if (within >= 0 && within < segment.fileBytes) {
          return segment.offset + within;
        }
      }
      throw damaged();
    }

    private String string(long index) throws IOException {
      long at = strings + index;
      long left = channel.size() - at;
      if (index < 0 || at < 0 || left <= 0) {
        throw damaged();
      }
      ByteBuffer buffer = bytes(at, (int) Math.min(left, MOST_NAME_BYTES));
      int length = 0;
      while (buffer.get(length) != 0) {
        if (++length == buffer.limit()) {
          throw damaged();
        }
      }
      byte[] text = new byte[length];
      buffer.get(text);
      return new String(text, StandardCharsets.UTF_8);
    }

    private ByteBuffer bytes(long at, int length) throws IOException {
      if (at < 0 || at > channel.size() - length) {
        throw damaged();
      }
      ByteBuffer buffer = ByteBuffer.allocate(length).order(ByteOrder.LITTLE_ENDIAN);
      while (buffer.hasRemaining()) {
        if (channel.read(buffer, at + buffer.position()) < 0) {
          throw damaged();
        }
      }
      return buffer.flip();
    }

    private IOException damaged() {
      return wrong("is damaged: no dynamic section that can be read");
    }

    private IOException wrong(String what) {
      return new IOException(file + " " + what);
    }
  }
}
