package dev.baton.worker.natives;

import dev.baton.v1.Gpu;
import java.io.File;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Collection;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeMap;
import java.util.function.Predicate;
import java.util.stream.Collectors;

/**
 * The native libraries that a process which loads libtorch needs: where they are, whether they fit
 * this machine, and what to do where they do not. Nothing is loaded to find out.
 *
 * @param build what libtorch was built for; empty where its libraries lie in jars on the class
 *     path, as in unit tests, and nothing is known
 * @param folders where libraries are looked for, libtorch's own folder first
 * @param cuda CUDA's libraries by name, with the files found
 * @param gpus those that it can train on
 * @param gpuProblem why a GPU of this machine cannot be used, in one line with what would help;
 *     empty where there is none or all is well
 * @param problem why libtorch cannot be loaded at all, in one line; empty where it can
 */
public record NativeLibraries(
    Optional<TorchBuild> build,
    List<Path> folders,
    Map<String, Path> cuda,
    List<Gpu> gpus,
    String gpuProblem,
    String problem) {
  /** The launcher names libtorch's folder by it. */
  public static final String PROPERTY = "baton.natives";

  /** Whether those for CUDA are loaded. */
  static final String CUDA_PROPERTY = "baton.natives.cuda";

  private static final String VARIABLE = "LD_LIBRARY_PATH";
  private static final String DRIVER = "libcuda.so.1";

  public NativeLibraries {
    folders = List.copyOf(folders);
    cuda = Map.copyOf(cuda);
    gpus = List.copyOf(gpus);
  }

  /** Those on the class path, about which nothing is known. */
  public static NativeLibraries onClassPath(List<Gpu> gpus) {
    return new NativeLibraries(Optional.empty(), List.of(), Map.of(), gpus, "", "");
  }

  /**
   * Those in the folder that the launcher named; else those on the class path.
   *
   * @param installed where pip is told to put what is missing: the work folder's {@code cuda}
   * @param gpus of this machine
   * @throws IOException where libtorch's own folder is incomplete or damaged
   */
  public static NativeLibraries ofLauncher(Path installed, List<Gpu> gpus) throws IOException {
    String folder = System.getProperty(PROPERTY);
    return folder == null
        ? onClassPath(gpus)
        : find(Path.of(folder), installed, Host.local(), gpus);
  }

  static NativeLibraries find(Path natives, Path installed, Host host, List<Gpu> gpus)
      throws IOException {
    TorchBuild build =
        TorchBuild.needing(ElfFile.read(natives.resolve("libtorch_cpu.so")).needed())
            .orElseThrow(() -> new IOException(natives + " holds a libtorch for another CUDA"));
    List<SearchPath.Place> places = SearchPath.of(host, installed);
    Closure cpu =
        Closure.of(natives, roots(natives, root -> !root.cuda()), places, build.cudaMajor());
    Diagnosis diagnosis = new Diagnosis(build, installed);
    String problem = diagnosis.ofLibraries(cpu);
    if (build == TorchBuild.CPU) {
      return new NativeLibraries(
          Optional.of(build), List.of(natives), Map.of(), List.of(), "", problem);
    }
    Closure gpu =
        Closure.of(natives, roots(natives, root -> !root.optional()), places, build.cudaMajor());
    // What the optional ones need is used where it is there, and not missed where it is not.
    Closure all = Closure.of(natives, roots(natives, root -> true), places, build.cudaMajor());
    Optional<SearchPath.Place> driver =
        places.stream().filter(place -> Files.exists(place.folder().resolve(DRIVER))).findFirst();
    List<Gpu> able = gpus.stream().filter(diagnosis::isAble).toList();
    String gpuProblem = diagnosis.ofGpu(host, gpus, able, driver.isPresent(), gpu);
    Set<Path> folders = new LinkedHashSet<>(List.of(natives));
    folders.addAll(all.cudaFolders());
    driver.filter(place -> !place.system()).ifPresent(place -> folders.add(place.folder()));
    Map<String, Path> cuda = new TreeMap<>();
    all.found()
        .forEach(
            (name, file) -> {
              if (!file.startsWith(natives) && Closure.isCuda(name)) {
                cuda.put(name, file);
              }
            });
    return new NativeLibraries(
        Optional.of(build),
        List.copyOf(folders),
        cuda,
        gpuProblem.isEmpty() ? able : List.of(),
        gpuProblem,
        problem);
  }

  private static List<String> roots(Path natives, Predicate<Root> which) {
    return Root.ALL.stream()
        .filter(which)
        .filter(root -> root.isExpectedIn(natives))
        .map(Root::name)
        .toList();
  }

  /**
   * Refuses a machine that they do not fit.
   *
   * @param allowCpu a GPU that cannot be used is no reason
   * @throws IOException in one line
   */
  public void refuseWhatDoesNotFit(boolean allowCpu) throws IOException {
    if (!gpuProblem.isEmpty() && !allowCpu) {
      throw new IOException(gpuProblem + "; or train on CPUs with --allow-cpu");
    }
    if (!problem.isEmpty()) {
      throw new IOException("libtorch cannot be loaded here: " + problem);
    }
  }

  /** Which libtorch is used, on what and why: one line. */
  public String summary() {
    if (build.isEmpty()) {
      return "libtorch comes from the class path";
    }
    String uses = "libtorch for " + build.get().text();
    if (build.get() == TorchBuild.CPU) {
      return uses;
    }
    if (!gpus.isEmpty()) {
      Gpu first = gpus.get(0);
      return uses
          + " on "
          + (gpus.size() == 1 ? "one GPU" : gpus.size() + " GPUs")
          + " ("
          + first.getModel()
          + ", driver "
          + first.getDriver()
          + "); CUDA's libraries: "
          + folders.stream()
              .skip(1)
              .map(Path::toString)
              .collect(Collectors.joining(File.pathSeparator));
    }
    return uses
        + " on CPUs: "
        + (gpuProblem.isEmpty() ? "there is no NVIDIA GPU here" : gpuProblem);
  }

  /** What the JVM that loads them is started with. */
  public List<String> javaOptions() {
    if (folders.isEmpty()) {
      return List.of();
    }
    return List.of(
        "-D" + PROPERTY + "=" + folders.get(0),
        "-D" + CUDA_PROPERTY + "=" + !gpus.isEmpty(),
        // NativeLoader loads them.
        "-Dorg.bytedeco.javacpp.loadlibraries=false");
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
