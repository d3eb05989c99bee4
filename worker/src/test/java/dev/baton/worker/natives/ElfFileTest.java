package dev.baton.worker.natives;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class ElfFileTest {
  @TempDir Path dir;

  private static ElfWriter library() {
    return new ElfWriter()
        .soname("liba.so.1")
        .needs("libc.so.6", "libb.so")
        .runPath("$ORIGIN:$ORIGIN/../lib")
        .needsVersions("libc.so.6", "GLIBC_2.35", "GLIBC_2.2.5")
        .needsVersions("libstdc++.so.6", "GLIBCXX_3.4.30")
        .definesVersions("liba.so.1", "A_1");
  }

  @Test
  void readsWhatTheLinkerReads() throws Exception {
    library().write(dir.resolve("a"));
    assertThat(ElfFile.read(dir.resolve("a")))
        .isEqualTo(
            new ElfFile(
                "liba.so.1",
                List.of("libc.so.6", "libb.so"),
                List.of("$ORIGIN", "$ORIGIN/../lib"),
                Map.of(
                    "libc.so.6",
                    Set.of("GLIBC_2.35", "GLIBC_2.2.5"),
                    "libstdc++.so.6",
                    Set.of("GLIBCXX_3.4.30")),
                Set.of("liba.so.1", "A_1")));
  }

  @Test
  void readsARealLibrary() throws Exception {
    Path zip = Path.of(System.getProperty("java.home"), "lib", "libzip.so");
    ElfFile library = ElfFile.read(zip);
    assertThat(library.soname()).isEqualTo("libzip.so");
    assertThat(library.needed()).contains("libc.so.6", "libjvm.so");
    assertThat(library.versionsNeeded().get("libc.so.6")).contains("GLIBC_2.2.5");
    Path libc =
        Files.readAllLines(Path.of("/proc/self/maps")).stream()
            .filter(line -> line.endsWith("/libc.so.6"))
            .map(line -> Path.of(line.substring(line.indexOf('/'))))
            .findFirst()
            .orElseThrow();
    assertThat(ElfFile.read(libc).versionsDefined()).contains("GLIBC_2.2.5", "GLIBC_2.17");
  }

  @Test
  void saysWhatIsNone() throws Exception {
    Files.writeString(dir.resolve("script"), "INPUT(-lc)".repeat(20));
    assertThatThrownBy(() -> ElfFile.read(dir.resolve("script")))
        .isInstanceOf(IOException.class)
        .hasMessage(dir.resolve("script") + " is no shared library for x86-64");
    byte[] arm = library().bytes();
    arm[18] = (byte) 183;
    Files.write(dir.resolve("arm"), arm);
    assertThatThrownBy(() -> ElfFile.read(dir.resolve("arm")))
        .hasMessageEndingWith("is no shared library for x86-64");
    Files.write(dir.resolve("empty"), new byte[0]);
    assertThatThrownBy(() -> ElfFile.read(dir.resolve("empty"))).isInstanceOf(IOException.class);
  }

  /** Whatever the bytes: an answer or one exception, with little memory and soon. */
  @Test
  void survivesDamage() throws Exception {
    byte[] whole = library().bytes();
    Random random = new Random(7);
    Path file = dir.resolve("damaged");
    int refused = 0;
    for (int i = 0; i < 4_000; i++) {
      byte[] bytes =
          i % 4 == 0 ? Arrays.copyOf(whole, random.nextInt(whole.length)) : whole.clone();
      int flips = bytes.length == 0 ? 0 : random.nextInt(12);
      for (int flip = 0; flip < flips; flip++) {
        // Whole words of extreme values, too: offsets and counts beyond the file.
        int at = random.nextInt(bytes.length);
        int length = random.nextBoolean() ? 1 : Math.min(8, bytes.length - at);
        byte value = (byte) new int[] {0, 0xff, 0x7f, random.nextInt(256)}[random.nextInt(4)];
        Arrays.fill(bytes, at, at + length, value);
      }
      Files.write(file, bytes);
      try {
        assertThat(ElfFile.read(file).needed()).isNotNull();
      } catch (IOException e) {
        refused++;
        assertThat(e.getMessage()).startsWith(file.toString()).hasLineCount(1);
      }
    }
    assertThat(refused).isBetween(1_000, 3_999);
  }
}
