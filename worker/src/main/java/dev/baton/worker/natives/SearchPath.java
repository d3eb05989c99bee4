package dev.baton.worker.natives;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** The folders of a machine in which CUDA's libraries may lie, best first. */
final class SearchPath {
  private static final Pattern CACHE_LINE =
      Pattern.compile("\\s*\\S+ \\(libc6,x86-64[^)]*\\) => (/.*)");
  private static final Pattern RUNTIME = Pattern.compile("lib(?:cudart|cublas)\\.so\\.(\\d+)");
  private static final Pattern TOOLKIT = Pattern.compile("cu(?:da-)?(\\d+)(?:\\..*)?");
  private static final Pattern WHEEL = Pattern.compile("nvidia_(.+)_cu(\\d+)-.*");

  /**
   * A folder.
   *
   * @param system the dynamic linker looks there anyway
   * @param forAll it serves libraries of any kind; else CUDA's alone
   * @param majors CUDA's major versions that it holds; empty where nothing tells
   */
  record Place(Path folder, boolean system, boolean forAll, Set<Integer> majors) {}

  private final Map<Path, Place> places = new LinkedHashMap<>();

  private SearchPath() {}

  /**
   * Looks.
   *
   * @param installed where pip was told to put what was missing; may not be there
   */
  static List<Place> of(Host host, Path installed) {
    SearchPath path = new SearchPath();
    path.addWheels(installed);
    for (Path folder : host.folders("LD_LIBRARY_PATH")) {
      path.add(folder, false, true, Set.of());
    }
    Set<Path> sites = sites(host);
    sites.forEach(path::addWheels);
    for (Path toolkit : Host.list(host.at("/usr/local"), "cuda*")) {
      for (String folder :
          List.of("lib64", "lib", "targets/x86_64-linux/lib", "extras/CUPTI/lib64")) {
        path.add(toolkit.resolve(folder), false, false, version(toolkit));
      }
    }
    // Where Colab, Kaggle and WSL have the driver's.
    for (String folder :
        List.of(
            "/usr/lib64-nvidia",
            "/usr/local/nvidia/lib64",
            "/usr/local/nvidia/lib",
            "/usr/lib/wsl/lib")) {
      path.add(host.at(folder), false, false, Set.of());
    }
    for (Path folder : cached(host)) {
      path.add(folder, true, true, Set.of());
    }
    for (String folder :
        List.of(
            "/lib/x86_64-linux-gnu",
            "/usr/lib/x86_64-linux-gnu",
            "/lib64",
            "/usr/lib64",
            "/lib",
            "/usr/lib")) {
      path.add(host.at(folder), true, true, Set.of());
    }
    for (Path prefix : prefixes(host)) {
      path.add(prefix.resolve("lib"), false, false, Set.of());
    }
    // PyTorch's own come last: for what it brings of CUDA's. Its libtorch is never taken, since
    // ours comes first.
    for (Path site : sites) {
      path.add(site.resolve("torch/lib"), false, false, Set.of());
    }
    return List.copyOf(path.places.values());
  }

  private void add(Path folder, boolean system, boolean forAll, Set<Integer> majors) {
    if (Files.isDirectory(folder) && !places.containsKey(folder)) {
      Set<Integer> known = new TreeSet<>(majors);
      for (Path library : Host.list(folder, "lib{cudart,cublas}.so.*")) {
        Matcher runtime = RUNTIME.matcher(String.valueOf(library.getFileName()));
        if (runtime.matches()) {
          known.add(Integer.valueOf(runtime.group(1)));
        }
      }
      places.put(folder, new Place(folder, system, forAll, known));
    }
  }

  /** A Python environment's: {@code nvidia/cublas/lib}, and for CUDA 13 {@code nvidia/cu13/lib}. */
  private void addWheels(Path site) {
    Map<String, Set<Integer>> majors = new LinkedHashMap<>();
    for (Path info : Host.list(site, "nvidia_*.dist-info")) {
      Matcher wheel = WHEEL.matcher(String.valueOf(info.getFileName()));
      if (wheel.matches()) {
        majors
            .computeIfAbsent(wheel.group(1), name -> new TreeSet<>())
            .add(Integer.valueOf(wheel.group(2)));
      }
    }
    for (Path wheel : Host.list(site.resolve("nvidia"), "*")) {
      String name = String.valueOf(wheel.getFileName());
      add(wheel.resolve("lib"), false, false, majors.getOrDefault(name, version(wheel)));
    }
  }

  private static Set<Integer> version(Path folder) {
    Matcher name = TOOLKIT.matcher(String.valueOf(folder.getFileName()));
    return name.matches() ? Set.of(Integer.valueOf(name.group(1))) : Set.of();
  }

  /** The folders of Python environments that packages lie in. */
  private static Set<Path> sites(Host host) {
    Set<Path> sites = new LinkedHashSet<>(host.folders("PYTHONPATH"));
    for (Path prefix : environments(host)) {
      for (Path python : Host.list(prefix.resolve("lib"), "python3*")) {
        sites.add(python.resolve("site-packages"));
        sites.add(python.resolve("dist-packages"));
      }
    }
    return sites;
  }

  private static List<Path> environments(Host host) {
    List<Path> environments = new ArrayList<>(prefixes(host));
    for (Path folder : host.folders("PATH")) {
      Path parent = folder.getParent();
      if (parent != null && Files.exists(folder.resolve("python3"))) {
        environments.add(parent);
      }
    }
    String home = host.variable("HOME");
    if (home.startsWith("/")) {
      environments.add(host.at(home).resolve(".local"));
      environments.addAll(Host.list(host.at(home).resolve(".pyenv/versions"), "*"));
    }
    environments.add(host.at("/usr/local"));
    environments.add(host.at("/usr"));
    return environments;
  }

  /** Environments that hold libraries of their own beside Python's packages. */
  private static List<Path> prefixes(Host host) {
    List<Path> prefixes = new ArrayList<>();
    for (String variable : List.of("VIRTUAL_ENV", "CONDA_PREFIX")) {
      prefixes.addAll(host.folders(variable));
    }
    prefixes.add(host.at("/opt/conda"));
    return prefixes;
  }

  private static Set<Path> cached(Host host) {
    Set<Path> folders = new LinkedHashSet<>();
    for (String line : host.linkerCache().lines().toList()) {
      Matcher library = CACHE_LINE.matcher(line);
      if (library.matches()) {
        Path folder = host.at(library.group(1)).getParent();
        if (folder != null) {
          folders.add(folder);
        }
      }
    }
    return folders;
  }
}
