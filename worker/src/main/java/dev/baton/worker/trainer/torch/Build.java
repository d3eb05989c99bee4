package dev.baton.worker.trainer.torch;

import dev.baton.v1.Gpu;
import dev.baton.worker.process.NvidiaSmi;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeSet;
import org.bytedeco.javacpp.BytePointer;
import org.bytedeco.javacpp.Loader;
import org.bytedeco.pytorch.CUDAHooksInterface;
import org.bytedeco.pytorch.Context;
import org.bytedeco.pytorch.global.torch;

/**
 * What bits depend on besides the job: the libtorch build and the processor that it chooses its
 * kernels for.
 *
 * @param build the artifact's version: 2.10.0-1.5.13
 * @param capability the vector instructions that libtorch uses here: AVX512
 */
record Build(String build, String capability) {

  /** Of the libtorch that is loaded. */
  static Build loaded() {
    String build;
    try {
      build = Loader.getVersion("org.bytedeco", "pytorch");
    } catch (IOException e) {
      throw new UncheckedIOException("libtorch's version cannot be read: " + e.getMessage(), e);
    }
    try (BytePointer capability = torch.get_cpu_capability()) {
      return new Build(build, capability.getString());
    }
  }

  /** libtorch's own: 2.10.0. */
  String version() {
    return build.substring(0, build.indexOf('-'));
  }

  String cpuKind() {
    int threads = torch.get_num_threads();
    String kernels = System.getenv("OPENBLAS_CORETYPE");
    return "cpu "
        + cpuModel()
        + ", "
        + capability
        + ", "
        + threads
        + (threads == 1 ? " thread" : " threads")
        + (kernels == null ? "" : ", OpenBLAS " + kernels)
        + ", libtorch "
        + build;
  }

  String cudaKind() {
    try (CUDAHooksInterface hooks = torch.getCUDAHooks()) {
      return "gpu "
          + gpuModel()
          + ", CUDA "
          + Context.versionCUDART()
          + ", cuDNN "
          + cudnn(hooks)
          + ", "
          + (loaded("libcublas.so").isEmpty() ? "cuBLAS unknown" : loaded("libcublas.so"))
          + ", libtorch "
          + build;
    }
  }

  /** Name, family, model and stepping: a name alone ("AMD EPYC") covers several. */
  static String cpuModel() {
    Map<String, String> first = new LinkedHashMap<>();
    try {
      for (String line : Files.readAllLines(Path.of("/proc/cpuinfo"))) {
        if (line.isBlank()) {
          break;
        }
        int colon = line.indexOf(':');
        if (colon > 0) {
          first.put(line.substring(0, colon).strip(), line.substring(colon + 1).strip());
        }
      }
    } catch (IOException e) {
      return System.getProperty("os.arch");
    }
    return first.getOrDefault("model name", System.getProperty("os.arch"))
        + " "
        + first.getOrDefault("cpu family", "?")
        + "/"
        + first.getOrDefault("model", "?")
        + "/"
        + first.getOrDefault("stepping", "?");
  }

  private static String gpuModel() {
    String visible = System.getenv("CUDA_VISIBLE_DEVICES");
    return NvidiaSmi.first(visible == null ? "0" : visible).map(Gpu::getModel).orElse("unknown");
  }

  private static String cudnn(CUDAHooksInterface hooks) {
    try {
      return Long.toString(hooks.versionRuntimeCuDNN());
    } catch (NoSuchMethodError e) {
      // libtorch 2.7, for CUDA 12, says only which it was built with.
      return hooks.versionCuDNN() + " " + loaded("libcudnn");
    }
  }

  /** Libraries whose version libtorch does not say: their files do, by name and size. */
  private static String loaded(String library) {
    TreeSet<String> found = new TreeSet<>();
    try {
      List<String> maps = Files.readAllLines(Path.of("/proc/self/maps"));
      for (String line : maps) {
        int slash = line.indexOf('/');
        if (slash > 0 && line.contains("/" + library)) {
          Path file = Path.of(line.substring(slash)).toRealPath();
          found.add(file.getFileName() + ":" + Files.size(file));
        }
      }
    } catch (IOException e) {
      return "";
    }
    return String.join("+", found);
  }
}
