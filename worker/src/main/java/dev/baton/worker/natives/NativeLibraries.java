package dev.baton.worker.natives;

import java.io.File;
import java.nio.file.Path;
import java.util.Collection;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.Collectors;

/**
 * Where a process that loads libtorch finds its native libraries.
 *
 * @param folders in the order in which they are searched, libtorch's own first; empty where the
 *     libraries lie in jars on the class path, as in unit tests
 */
public record NativeLibraries(List<Path> folders) {
  /** The launcher names libtorch's folder by it. */
  public static final String PROPERTY = "baton.natives";

  private static final String VARIABLE = "LD_LIBRARY_PATH";

  public NativeLibraries {
    folders = List.copyOf(folders);
  }

  /** Those that the launcher named; else those on the class path. */
  public static NativeLibraries ofLauncher() {
    String folder = System.getProperty(PROPERTY);
    return new NativeLibraries(folder == null ? List.of() : List.of(Path.of(folder)));
  }

  /** What the JVM that loads them is started with. */
  public List<String> javaOptions() {
    if (folders.isEmpty()) {
      return List.of();
    }
    return List.of(
        "-D" + PROPERTY + "=" + folders.get(0),
        "-Djava.library.path=" + joined(folders),
        // JavaCPP looks there before it looks into jars, and makes no links in a cache.
        "-Dorg.bytedeco.javacpp.pathsFirst=true",
        "-Dorg.bytedeco.javacpp.cacheLibraries=false");
  }

  /**
   * Variables to set in its environment: the dynamic linker looks through these folders for what
   * the libraries need, and for what they open by name later.
   *
   * @param inherited the environment without them
   */
  public Map<String, String> environment(Map<String, String> inherited) {
    if (folders.isEmpty()) {
      return Map.of();
    }
    Set<Path> path = new LinkedHashSet<>(folders);
    for (String folder : inherited.getOrDefault(VARIABLE, "").split(File.pathSeparator, -1)) {
      if (!folder.isEmpty()) {
        path.add(Path.of(folder));
      }
    }
    return Map.of(VARIABLE, joined(path));
  }

  private static String joined(Collection<Path> folders) {
    return folders.stream().map(Path::toString).collect(Collectors.joining(File.pathSeparator));
  }
}
