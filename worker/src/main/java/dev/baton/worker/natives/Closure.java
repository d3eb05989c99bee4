package dev.baton.worker.natives;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Queue;
import java.util.Set;
import java.util.TreeMap;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;

/**
 * Everything that some libraries need, and what those need in turn, found as the dynamic linker
 * would find it, without loading anything.
 */
final class Closure {
  /** Libraries whose name carries CUDA's major version: who needs one belongs to that CUDA. */
  private static final Pattern OF_MAJOR =
      Pattern.compile("lib(?:cudart|cublas|cublasLt|cupti|nvJitLink|nvrtc)\\.so\\.(\\d+)");

  private static final Pattern CUDA =
      Pattern.compile(
          "lib(?:cudart|cudnn\\w*|cublas(?:Lt)?|cufftw?|cufile\\w*|cupti|curand|cusolver(?:Mg)?"
              + "|cusparse(?:Lt)?|nvJitLink|nvrtc|nvToolsExt|nccl|nvshmem\\w*|nvperf\\w*)\\.so.*");

  private static final Set<String> LINKER = Set.of("ld-linux-x86-64.so.2", "linux-vdso.so.1");

  private final Path natives;
  private final List<SearchPath.Place> places;
  private final int cudaMajor;
  private final Map<String, Path> found = new LinkedHashMap<>();
  private final Map<String, String> missing = new LinkedHashMap<>();
  private final Map<String, String> misfits = new LinkedHashMap<>();
  private final Set<Path> cudaFolders = new LinkedHashSet<>();
  private final Map<String, Map<List<Integer>, String>> versions = new LinkedHashMap<>();

  private Closure(Path natives, List<SearchPath.Place> places, int cudaMajor) {
    this.natives = natives;
    this.places = places;
    this.cudaMajor = cudaMajor;
  }

  /**
   * Resolves.
   *
   * @param natives the folder of the libraries
   * @param roots names of files in it
   * @param cudaMajor CUDA's major version that they were built for
   */
  static Closure of(
      Path natives, Collection<String> roots, List<SearchPath.Place> places, int cudaMajor)
      throws IOException {
    Closure closure = new Closure(natives, places, cudaMajor);
    Queue<String> queue = new ArrayDeque<>();
    for (String root : roots) {
      closure.found.put(root, natives.resolve(root));
      closure.follow(natives.resolve(root), root, ElfFile.read(natives.resolve(root)), queue);
    }
    while (!queue.isEmpty()) {
      String name = queue.remove();
      Path file = closure.found.get(name);
      if (file != null) {
        closure.follow(file, name, ElfFile.read(file), queue);
      }
    }
    return closure;
  }

  private void follow(Path file, String name, ElfFile library, Queue<String> queue) {
    library.versionsNeeded().forEach((from, needed) -> noteVersions(name, from, needed));
    for (String needed : library.needed()) {
      if (found.containsKey(needed) || missing.containsKey(needed) || LINKER.contains(needed)) {
        continue;
      }
      Path at = find(needed, file, library);
      if (at == null) {
        missing.put(needed, name);
      } else {
        found.put(needed, at);
        queue.add(needed);
      }
    }
  }

  private @Nullable Path find(String name, Path neededBy, ElfFile needing) {
    Path own = natives.resolve(name);
    if (Files.exists(own)) {
      return own;
    }
    boolean cuda = isCuda(name);
    for (SearchPath.Place place : places) {
      Path file = place.folder().resolve(name);
      if ((cuda || place.forAll()) && Files.exists(file) && fits(name, file, place, cuda)) {
        if (cuda && !place.system()) {
          cudaFolders.add(place.folder());
        }
        misfits.remove(name);
        return file;
      }
    }
    for (String folder : needing.runPath()) {
      Path parent = neededBy.getParent();
      if (parent != null && folder.startsWith("$ORIGIN")) {
        Path file =
            parent
                .resolve(folder.substring("$ORIGIN".length()).replaceFirst("^/+", ""))
                .resolve(name);
        if (Files.exists(file)
            && fits(name, file, new SearchPath.Place(parent, false, true, Set.of()), cuda)) {
          return file;
        }
      }
    }
    return null;
  }

  /** Whether the file is a library for this machine and, where it is CUDA's, of the right CUDA. */
  private boolean fits(String name, Path file, SearchPath.Place place, boolean cuda) {
    try {
      ElfFile library = ElfFile.read(file);
      if (!cuda) {
        return true;
      }
      Set<Integer> majors = new LinkedHashSet<>();
      for (String needed : library.needed()) {
        Matcher of = OF_MAJOR.matcher(needed);
        if (of.matches()) {
          majors.add(Integer.valueOf(of.group(1)));
        }
      }
      if (majors.isEmpty() && !OF_MAJOR.matcher(name).matches()) {
        majors.addAll(place.majors());
      }
      if (majors.isEmpty() || majors.contains(cudaMajor)) {
        return true;
      }
      misfits.putIfAbsent(name, file + " is of CUDA " + majors.iterator().next());
      return false;
    } catch (IOException e) {
      // The dynamic linker goes on to the next folder, too.
      misfits.putIfAbsent(name, String.valueOf(e.getMessage()));
      return false;
    }
  }

  private void noteVersions(String by, String from, Set<String> needed) {
    for (String version : needed) {
      int underscore = version.indexOf('_');
      List<Integer> numbers = numbers(version.substring(underscore + 1));
      if (underscore > 0 && !numbers.isEmpty()) {
        versions
            .computeIfAbsent(
                from + " " + version.substring(0, underscore),
                key -> new TreeMap<>(Closure::compare))
            .putIfAbsent(numbers, by);
      }
    }
  }

  /** Whether a library is one of CUDA's, by its name. */
  static boolean isCuda(String name) {
    return CUDA.matcher(name).matches();
  }

  /** Names of libraries that are nowhere, each with the library that needs it. */
  Map<String, String> missing() {
    return missing;
  }

  /** Where a library that is missing was found, yet not fitting: one sentence for each. */
  Map<String, String> misfits() {
    return misfits;
  }

  /** Every library, by name. */
  Map<String, Path> found() {
    return found;
  }

  /** Folders with libraries of CUDA's, in the order of the search. */
  List<Path> cudaFolders() {
    return places.stream().map(SearchPath.Place::folder).filter(cudaFolders::contains).toList();
  }

  /** What is too old on this machine: one sentence for each library, glibc first. */
  List<String> tooOld() {
    List<String> problems = new ArrayList<>();
    for (var library : List.of("libc.so.6 GLIBC", "libstdc++.so.6 GLIBCXX")) {
      String file = library.substring(0, library.indexOf(' '));
      String prefix = library.substring(library.indexOf(' ') + 1);
      Map<List<Integer>, String> needed = versions.get(library);
      Path at = found.get(file);
      if (needed == null || at == null) {
        continue;
      }
      List<Integer> most = List.of();
      for (List<Integer> version : needed.keySet()) {
        most = compare(version, most) > 0 ? version : most;
      }
      List<Integer> here = highest(at, prefix);
      if (!here.isEmpty() && compare(here, most) < 0) {
        problems.add(
            (file.equals("libc.so.6") ? "glibc " : file + ": " + prefix + " ")
                + text(here)
                + " is too old: "
                + needed.get(most)
                + " needs "
                + text(most)
                + " or newer");
      }
    }
    return problems;
  }

  private static List<Integer> highest(Path library, String prefix) {
    try {
      List<Integer> highest = List.of();
      for (String version : ElfFile.read(library).versionsDefined()) {
        if (version.startsWith(prefix + "_")) {
          List<Integer> numbers = numbers(version.substring(prefix.length() + 1));
          highest = compare(numbers, highest) > 0 ? numbers : highest;
        }
      }
      return highest;
    } catch (IOException e) {
      return List.of();
    }
  }

  /** A version's numbers; none where it is no version (GLIBC_PRIVATE). */
  static List<Integer> numbers(String version) {
    List<Integer> numbers = new ArrayList<>();
    for (String part : version.strip().split("\\.", -1)) {
      if (!part.matches("\\d{1,6}")) {
        return List.of();
      }
      numbers.add(Integer.valueOf(part));
    }
    return numbers;
  }

  /** Orders versions: 2.9 before 2.35. */
  static int compare(List<Integer> a, List<Integer> b) {
    for (int i = 0; i < Math.min(a.size(), b.size()); i++) {
      int order = a.get(i).compareTo(b.get(i));
      if (order != 0) {
        return order;
      }
    }
    return Integer.compare(a.size(), b.size());
  }

  private static String text(List<Integer> version) {
    return String.join(".", version.stream().map(String::valueOf).toList());
  }
}
