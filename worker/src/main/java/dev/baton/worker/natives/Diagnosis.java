package dev.baton.worker.natives;

import dev.baton.v1.Gpu;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.stream.Collectors;

/**
 * What keeps a libtorch from running on a machine, each in one line that says what would help.
 *
 * @param build the libtorch
 * @param installed where pip is told to put what is missing
 */
record Diagnosis(TorchBuild build, Path installed) {

  /** What a closure lacks; empty where it is whole. */
  String ofLibraries(Closure closure) {
    List<String> problems = new ArrayList<>(closure.tooOld());
    Map<String, String> missing = closure.missing();
    if (!missing.isEmpty()) {
      problems.add("missing: " + String.join(", ", missing.keySet()));
      closure
          .misfits()
          .forEach(
              (name, why) -> {
                if (missing.containsKey(name)) {
                  problems.add(why + ", not " + build.cudaMajor());
                }
              });
    }
    if (problems.isEmpty()) {
      return "";
    }
    return String.join("; ", problems) + remedy(missing.keySet());
  }

  private String remedy(Set<String> missing) {
    Set<String> requirements = new LinkedHashSet<>();
    for (String library : missing) {
      build.requirement(library).ifPresent(requirements::add);
    }
    String remedy = "";
    if (!requirements.isEmpty()) {
      remedy =
          "; this brings "
              + (requirements.size() < missing.size() || missing.size() > 1 ? "them" : "it")
              + ": pip install --target "
              + installed
              + " "
              + String.join(" ", requirements);
    }
    if (missing.contains("libstdc++.so.6")) {
      remedy += "; libstdc++.so.6 comes with the package libstdc++6";
    }
    return remedy;
  }

  /** Whether the build holds code for a GPU. */
  boolean isAble(Gpu gpu) {
    List<Integer> capability = Closure.numbers(gpu.getComputeCapability());
    return capability.isEmpty()
        || Closure.compare(capability, Closure.numbers(build.leastCapability())) >= 0;
  }

  /** Why no GPU can be used; empty where one can or there is none. */
  String ofGpu(Host host, List<Gpu> gpus, List<Gpu> able, boolean hasDriver, Closure closure) {
    if (gpus.isEmpty()) {
      return Host.list(host.at("/proc/driver/nvidia/gpus"), "*").isEmpty()
          ? ""
          : "/proc/driver/nvidia/gpus lists a GPU, but nvidia-smi does not: the driver's programs"
              + " are missing, or the GPU has failed (see dmesg)";
    }
    String name = gpus.stream().map(Gpu::getModel).distinct().collect(Collectors.joining(", "));
    Optional<Integer> driver = driver(gpus.get(0).getDriver());
    if (driver.isPresent() && driver.get() < build.leastDriver()) {
      return name
          + ": driver "
          + gpus.get(0).getDriver()
          + " is too old: "
          + build.text()
          + " needs "
          + build.leastDriver()
          + " or newer"
          + (build == TorchBuild.CU13 && driver.get() >= TorchBuild.CU12.leastDriver()
              ? "; the worker's archive for CUDA 12 (cu12) runs on it"
              : "");
    }
    if (able.isEmpty()) {
      return name
          + ": compute capability "
          + gpus.get(0).getComputeCapability()
          + " is too low: this libtorch for "
          + build.text()
          + " needs "
          + build.leastCapability()
          + " or higher"
          + (build == TorchBuild.CU13
                  && new Diagnosis(TorchBuild.CU12, installed).isAble(gpus.get(0))
              ? "; the worker's archive for CUDA 12 (cu12) runs on it"
              : "");
    }
    if (!hasDriver) {
      return name + ": the driver's libcuda.so.1 is nowhere; put its folder into LD_LIBRARY_PATH";
    }
    String libraries = ofLibraries(closure);
    return libraries.isEmpty() ? "" : name + ": " + libraries;
  }

  /** The driver's branch: 580 of 580.95.05. */
  private static Optional<Integer> driver(String version) {
    List<Integer> numbers = Closure.numbers(version);
    return numbers.isEmpty() ? Optional.empty() : Optional.of(numbers.get(0));
  }
}
