package dev.baton.worker.natives;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;

/**
 * The machine that is looked through; in tests, a folder made up to look like one.
 *
 * @param root what is {@code /} there
 * @param environment the variables of this process
 * @param linkerCache what {@code ldconfig -p} says; empty where there is none
 */
record Host(Path root, Map<String, String> environment, String linkerCache) {
  private static final long WAIT_SECONDS = 10;

  /** This machine. */
  static Host local() {
    return new Host(Path.of("/"), System.getenv(), ldconfig());
  }

  /** A path of that machine. */
  Path at(String absolute) {
    return root.resolve(absolute.substring(1));
  }

  /** The value of a variable; empty where it is not set. */
  String variable(String name) {
    return environment.getOrDefault(name, "");
  }

  /** The folders of a variable like PATH. */
  List<Path> folders(String variable) {
    List<Path> folders = new ArrayList<>();
    for (String folder : variable(variable).split(":", -1)) {
      if (folder.startsWith("/")) {
        folders.add(at(folder));
      }
    }
    return folders;
  }

  /** What matches in a folder, sorted by name; nothing where it cannot be read. */
  static List<Path> list(Path folder, String glob) {
    List<Path> found = new ArrayList<>();
    try (DirectoryStream<Path> entries = Files.newDirectoryStream(folder, glob)) {
      entries.forEach(found::add);
    } catch (IOException | java.nio.file.DirectoryIteratorException e) {
      return List.of();
    }
    found.sort(null);
    return found;
  }

  private static String ldconfig() {
    for (String program : List.of("/sbin/ldconfig", "/usr/sbin/ldconfig")) {
      if (!Files.isExecutable(Path.of(program))) {
        continue;
      }
      try {
        Process process =
            new ProcessBuilder(program, "-p")
                .redirectError(ProcessBuilder.Redirect.DISCARD)
                .start();
        try {
          String text = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
          if (process.waitFor(WAIT_SECONDS, TimeUnit.SECONDS)) {
            return text;
          }
        } finally {
          process.destroyForcibly();
        }
      } catch (IOException e) {
        return "";
      } catch (InterruptedException e) {
        Thread.currentThread().interrupt();
        return "";
      }
    }
    return "";
  }
}
