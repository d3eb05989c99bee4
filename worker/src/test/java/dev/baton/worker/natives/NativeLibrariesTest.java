package dev.baton.worker.natives;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.baton.v1.Gpu;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Machines made up of folders and tiny libraries. */
class NativeLibrariesTest {
  private static final String UBUNTU = "/usr/lib/x86_64-linux-gnu";
  private static final Map<String, Integer> SONAMES_12 =
      Map.of(
          "cublas",
          12,
          "cublasLt",
          12,
          "cudart",
          12,
          "cupti",
          12,
          "cufft",
          11,
          "curand",
          10,
          "cusolver",
          11,
          "cusparse",
          12,
          "nvJitLink",
          12,
          "cufile",
          0);
  private static final Map<String, Integer> SONAMES_13 =
      Map.of(
          "cublas",
          13,
          "cublasLt",
          13,
          "cudart",
          13,
          "cupti",
          13,
          "cufft",
          12,
          "curand",
          10,
          "cusolver",
          12,
          "cusparse",
          12,
          "nvJitLink",
          13,
          "cufile",
          0);
  private static final List<String> CUDNN =
      List.of("cudnn", "cudnn_ops", "cudnn_cnn", "cudnn_adv", "cudnn_graph");
  private static final Gpu T4 = gpu("Tesla T4", "7.5", "580.95.05");

  @TempDir Path dir;
  private Path root;
  private Path natives;
  private final Map<String, String> environment = new HashMap<>();
  private String linkerCache = "";

  private static Gpu gpu(String model, String capability, String driver) {
    return Gpu.newBuilder()
        .setModel(model)
        .setComputeCapability(capability)
        .setDriver(driver)
        .build();
  }

  @BeforeEach
  void ubuntu() throws IOException {
    root = dir.resolve("root");
    natives = dir.resolve("natives");
    system("2.35", "3.4.30");
    environment.put("HOME", "/root");
    environment.put("PATH", "/usr/local/bin:/usr/bin");
  }

  private void system(String glibc, String libstdcxx) throws IOException {
    Path lib = root.resolve(UBUNTU.substring(1));
    new ElfWriter()
        .soname("libc.so.6")
        .definesVersions("libc.so.6", "GLIBC_2.2.5", "GLIBC_" + glibc, "GLIBC_PRIVATE")
        .write(lib.resolve("libc.so.6"));
    new ElfWriter()
        .soname("libstdc++.so.6")
        .needs("libc.so.6")
        .definesVersions("GLIBCXX_3.4", "GLIBCXX_" + libstdcxx)
        .write(lib.resolve("libstdc++.so.6"));
  }

  /** The shape of the builds' libraries. */
  private void libtorch(int cuda) throws IOException {
    Map<String, Integer> sonames = cuda == 13 ? SONAMES_13 : SONAMES_12;
    new ElfWriter()
        .soname("libc10.so")
        .needs("libc.so.6", "libstdc++.so.6", "ld-linux-x86-64.so.2")
        .needsVersions("libc.so.6", "GLIBC_2.2.5", "GLIBC_2.35")
        .needsVersions("libstdc++.so.6", "GLIBCXX_3.4.9", "GLIBCXX_3.4.30")
        .write(natives.resolve("libc10.so"));
    ElfWriter cpu = new ElfWriter().soname("libtorch_cpu.so").needs("libc10.so", "libc.so.6");
    for (String binding : List.of("libjnitorch.so", "libjnijavacpp.so")) {
      new ElfWriter().needs("libtorch_cpu.so", "libc10.so").write(natives.resolve(binding));
    }
    if (cuda > 0) {
      cpu.needs("libcupti.so." + cuda, "libcudart.so." + cuda);
      ElfWriter gpu = new ElfWriter().soname("libtorch_cuda.so").needs("libtorch_cpu.so");
      for (String name : List.of("cudart", "cusparse", "cufft", "curand", "cublas", "cublasLt")) {
        gpu.needs("lib" + name + ".so." + sonames.get(name));
      }
      gpu.needs("libcudnn.so.9", "libcufile.so.0");
      if (cuda == 13) {
        gpu.needs("libnccl.so.2");
      }
      gpu.write(natives.resolve("libtorch_cuda.so"));
      new ElfWriter()
          .needs("libtorch_cuda.so", "libcusolver.so." + sonames.get("cusolver"))
          .write(natives.resolve("libtorch_cuda_linalg.so"));
      ElfWriter bindings = new ElfWriter().needs("libtorch_cuda.so");
      CUDNN.stream().skip(1).forEach(name -> bindings.needs("lib" + name + ".so.9"));
      bindings.write(natives.resolve("libjnitorch_cuda.so"));
      new ElfWriter()
          .needs("libcuda.so.1", "libcudart.so." + cuda)
          .write(natives.resolve("libjnicudart.so"));
      new ElfWriter().needs("libnccl.so.2").write(natives.resolve("libjninccl.so"));
    }
    cpu.write(natives.resolve("libtorch_cpu.so"));
  }

  private void library(String folder, String name, String... needs) throws IOException {
    new ElfWriter()
        .soname(name)
        .needs("libc.so.6")
        .needs(needs)
        .needsVersions("libc.so.6", "GLIBC_2.17")
        .write(root.resolve(folder.substring(1)).resolve(name));
  }

  private void cuda(String folder, String name, int cuda) throws IOException {
    int version = (cuda == 13 ? SONAMES_13 : SONAMES_12).getOrDefault(name, 0);
    boolean links = List.of("cufft", "cusparse", "cusolver").contains(name);
    library(
        folder,
        "lib" + name + ".so." + version,
        links ? new String[] {"libnvJitLink.so." + cuda} : new String[0]);
  }

  /** As pip installs them: CUDA 13's in one folder, CUDA 12's each in its own. */
  private void wheels(String site, int cuda) throws IOException {
    Map<String, String> packages = new HashMap<>();
    packages.put("cudart", "cuda_runtime");
    packages.put("cupti", "cuda_cupti");
    packages.put("cublasLt", "cublas");
    packages.put("nvJitLink", "nvjitlink");
    for (String name : (cuda == 13 ? SONAMES_13 : SONAMES_12).keySet()) {
      String wheel = packages.getOrDefault(name, name);
      cuda(site + "/nvidia/" + (cuda == 13 ? "cu13" : wheel) + "/lib", name, cuda);
      if (cuda == 12) {
        Files.createDirectories(
            root.resolve((site + "/nvidia_" + wheel + "_cu12-12.9.dist-info").substring(1)));
      }
    }
    cudnnAndNccl(site, cuda);
  }

  private void cudnnAndNccl(String site, int cuda) throws IOException {
    for (String name : CUDNN) {
      library(site + "/nvidia/cudnn/lib", "lib" + name + ".so.9");
    }
    library(site + "/nvidia/nccl/lib", "libnccl.so.2");
    for (String wheel : List.of("cudnn", "nccl")) {
      Files.createDirectories(
          root.resolve((site + "/nvidia_" + wheel + "_cu" + cuda + "-9.9.dist-info").substring(1)));
    }
  }

  private NativeLibraries find(Gpu... gpus) throws IOException {
    return NativeLibraries.find(
        natives, dir.resolve("work/cuda"), new Host(root, environment, linkerCache), List.of(gpus));
  }

  private Path in(String path) {
    return root.resolve(path.substring(1));
  }

  @Test
  void colab() throws Exception {
    libtorch(13);
    wheels("/usr/local/lib/python3.12/dist-packages", 13);
    library("/usr/lib64-nvidia", "libcuda.so.1");
    environment.put("LD_LIBRARY_PATH", "/usr/lib64-nvidia");
    NativeLibraries found = find(T4);
    assertThat(found.problem() + found.gpuProblem()).isEmpty();
    assertThat(found.gpus()).containsExactly(T4);
    Path nvidia = in("/usr/local/lib/python3.12/dist-packages/nvidia");
    assertThat(found.folders())
        .startsWith(natives)
        .containsExactlyInAnyOrder(
            natives,
            nvidia.resolve("cu13/lib"),
            nvidia.resolve("cudnn/lib"),
            nvidia.resolve("nccl/lib"),
            in("/usr/lib64-nvidia"));
    assertThat(found.cuda())
        .containsEntry("libcublas.so.13", nvidia.resolve("cu13/lib/libcublas.so.13"))
        .containsEntry("libnvJitLink.so.13", nvidia.resolve("cu13/lib/libnvJitLink.so.13"));
    assertThat(found.summary())
        .startsWith("libtorch for CUDA 13 on one GPU (Tesla T4, driver 580.95.05); CUDA's")
        .hasLineCount(1);
    assertThat(found.environment(Map.of("LD_LIBRARY_PATH", "/opt/x:")).get("LD_LIBRARY_PATH"))
        .startsWith(natives + ":")
        .endsWith(":/opt/x");
  }

  @Test
  void kaggleWithConda() throws Exception {
    libtorch(12);
    wheels("/opt/conda/lib/python3.11/site-packages", 12);
    library("/usr/local/nvidia/lib64", "libcuda.so.1");
    Gpu p100 = gpu("Tesla P100-PCIE-16GB", "6.0", "560.35.03");
    NativeLibraries found = find(p100);
    assertThat(found.gpuProblem()).isEmpty();
    assertThat(found.build()).contains(TorchBuild.CU12);
    assertThat(found.folders())
        .contains(
            in("/opt/conda/lib/python3.11/site-packages/nvidia/cublas/lib"),
            in("/usr/local/nvidia/lib64"));
  }

  @Test
  void aCondaEnvironmentsOwnLibraries() throws Exception {
    libtorch(12);
    environment.put("CONDA_PREFIX", "/home/a/miniforge3/envs/t");
    for (String name : SONAMES_12.keySet()) {
      cuda("/home/a/miniforge3/envs/t/lib", name, 12);
    }
    for (String name : CUDNN) {
      library("/home/a/miniforge3/envs/t/lib", "lib" + name + ".so.9");
    }
    library(UBUNTU, "libcuda.so.1");
    NativeLibraries found = find(T4);
    assertThat(found.gpuProblem()).isEmpty();
    assertThat(found.folders()).containsExactly(natives, in("/home/a/miniforge3/envs/t/lib"));
  }

  @Test
  void onlyADriver() throws Exception {
    libtorch(13);
    library(UBUNTU, "libcuda.so.1");
    NativeLibraries found = find(T4);
    assertThat(found.gpus()).isEmpty();
    assertThat(found.gpuProblem())
        .startsWith("Tesla T4: missing: ")
        .contains("libcudnn.so.9", "libcusparse.so.12")
        .contains("pip install --target " + dir.resolve("work/cuda") + " ")
        .contains(" nvidia-cublas==13.1.0.3", " nvidia-cudnn-cu13==", " nvidia-nccl-cu13==")
        .hasLineCount(1);
    assertThat(found.gpuProblem().split("nvidia-cublas==", -1)).hasSize(2);
    // And libtorch's CPU part itself was linked with CUDA's runtime.
    assertThat(found.problem())
        .startsWith("missing: libcupti.so.13, libcudart.so.13; this brings them: pip install")
        .endsWith(" nvidia-cuda-cupti==13.0.85 nvidia-cuda-runtime==13.0.96");

    // What pip then brings is found.
    String work = "/../work/cuda";
    wheels(work, 13);
    assertThat(find(T4).gpuProblem()).isEmpty();
    assertThat(find(T4).problem()).isEmpty();
  }

  @Test
  void aToolkit() throws Exception {
    libtorch(13);
    for (String name : SONAMES_13.keySet()) {
      String folder = name.equals("cupti") ? "extras/CUPTI/lib64" : "lib64";
      cuda("/usr/local/cuda-13.0/" + folder, name, 13);
      cuda("/usr/local/cuda-12.4/" + folder, name, 12);
    }
    library(UBUNTU, "libcuda.so.1");
    linkerCache =
        """
        2 libs found in cache
        \tlibcudnn.so.9 (libc6,x86-64) => /opt/nvidia/lib/libcudnn.so.9
        \tlibold.so (libc6) => /opt/i386/lib/libold.so
        """;
    CUDNN.forEach(
        name -> {
          try {
            library("/opt/nvidia/lib", "lib" + name + ".so.9");
          } catch (IOException e) {
            throw new java.io.UncheckedIOException(e);
          }
        });
    library("/opt/nvidia/lib", "libnccl.so.2");
    NativeLibraries found = find(T4);
    assertThat(found.gpuProblem()).isEmpty();
    assertThat(found.cuda().get("libcusparse.so.12"))
        .isEqualTo(in("/usr/local/cuda-13.0/lib64/libcusparse.so.12"));
    assertThat(found.folders()).noneMatch(folder -> folder.toString().contains("12.4"));
  }

  @Test
  void ubuntusOwnPackages() throws Exception {
    libtorch(12);
    for (String name : SONAMES_12.keySet()) {
      cuda(UBUNTU, name, 12);
    }
    for (String name : CUDNN) {
      library(UBUNTU, "lib" + name + ".so.9");
    }
    library(UBUNTU, "libcuda.so.1");
    NativeLibraries found = find(T4);
    assertThat(found.problem() + found.gpuProblem()).isEmpty();
    assertThat(found.cuda()).containsEntry("libcublas.so.12", in(UBUNTU + "/libcublas.so.12"));
    // The dynamic linker looks there anyway; named first, it would go before others of the user's.
    assertThat(found.folders()).containsExactly(natives);

    // They are of no use to the build for CUDA 13, not even those of the same name.
    libtorch(13);
    assertThat(find(T4).gpuProblem())
        .contains("missing: ", "libcublas.so.13")
        .contains(in(UBUNTU + "/libcusparse.so.12") + " is of CUDA 12, not 13");
  }

  @Test
  void aColabWithAToolkitOfAnotherCudaBesideTheWheels() throws Exception {
    library("/usr/lib64-nvidia", "libcuda.so.1");
    environment.put("LD_LIBRARY_PATH", "/usr/lib64-nvidia");
    String site = "/usr/local/lib/python3.12/dist-packages";
    wheels(site, 13);
    for (String toolkit : List.of("/usr/local/cuda", "/usr/local/cuda-12.5")) {
      for (String name : SONAMES_12.keySet()) {
        cuda(toolkit + (name.equals("cupti") ? "/extras/CUPTI/lib64" : "/lib64"), name, 12);
      }
    }
    // The build's major wins, whichever lies first on the way.
    libtorch(13);
    NativeLibraries wheels = find(T4);
    assertThat(wheels.problem() + wheels.gpuProblem()).isEmpty();
    assertThat(wheels.cuda().values()).allMatch(file -> file.startsWith(in(site)));
    assertThat(wheels.folders())
        .contains(in(site + "/nvidia/cu13/lib"))
        .noneMatch(folder -> folder.startsWith(in("/usr/local/cuda")));

    libtorch(12);
    NativeLibraries toolkit = find(T4);
    assertThat(toolkit.cuda().get("libcusparse.so.12"))
        .isEqualTo(in("/usr/local/cuda/lib64/libcusparse.so.12"));
    assertThat(toolkit.folders())
        .contains(in("/usr/local/cuda/lib64"))
        .doesNotContain(in(site + "/nvidia/cu13/lib"));
    // But cuDNN's number is the same for both, and the wheel's is CUDA 13's.
    assertThat(toolkit.gpuProblem()).contains("libcudnn.so.9 is of CUDA 13, not 12");
  }

  @Test
  void whatTheLoaderLoadsIsLookedAt() throws Exception {
    libtorch(12);
    wheels("/usr/local/lib/python3.12/dist-packages", 12);
    library(UBUNTU, "libcuda.so.1");
    Path nccl = in("/usr/local/lib/python3.12/dist-packages/nvidia/nccl/lib");
    // This libtorch has NCCL within; its bindings alone need the library.
    assertThat(find(T4).cuda()).containsEntry("libnccl.so.2", nccl.resolve("libnccl.so.2"));
    assertThat(find(T4).folders()).contains(nccl);
    Files.delete(nccl.resolve("libnccl.so.2"));
    assertThat(find(T4).problem() + find(T4).gpuProblem()).as("one GPU does without").isEmpty();
    assertThat(find(T4).folders()).doesNotContain(nccl);

    for (Root root : Root.ALL) {
      ElfWriter library = new ElfWriter().needs("lib-of-" + root.name());
      if (root.name().equals("libtorch_cpu.so")) {
        library.needs("libcudart.so.12");
      }
      library.write(natives.resolve(root.name()));
    }
    NativeLibraries lacking = find(T4);
    for (Root root : Root.ALL) {
      String missing = "lib-of-" + root.name();
      assertThat(lacking.problem().contains(missing)).as(missing).isEqualTo(!root.cuda());
      assertThat(lacking.gpuProblem().contains(missing)).as(missing).isEqualTo(!root.optional());
    }
  }

  @Test
  void mixedVersionsAreToldApart() throws Exception {
    libtorch(13);
    String site = "/usr/local/lib/python3.12/dist-packages";
    wheels(site, 12);
    library(UBUNTU, "libcuda.so.1");
    NativeLibraries found = find(T4);
    assertThat(found.gpuProblem())
        .contains("missing: ")
        .contains(in(site + "/nvidia/cusparse/lib/libcusparse.so.12") + " is of CUDA 12, not 13")
        .contains(in(site + "/nvidia/cudnn/lib/libcudnn.so.9") + " is of CUDA 12, not 13")
        .hasLineCount(1);

    // With CUDA 13's beside them, each comes from where it belongs.
    environment.put("VIRTUAL_ENV", "/venv");
    wheels("/venv/lib/python3.12/site-packages", 13);
    NativeLibraries both = find(T4);
    assertThat(both.gpuProblem()).isEmpty();
    assertThat(both.cuda().values()).allMatch(file -> file.startsWith(in("/venv")));
  }

  @Test
  void pytorchsOwnFolderServesWhatIsMissingAlone() throws Exception {
    libtorch(12);
    String site = "/usr/local/lib/python3.11/dist-packages";
    wheels(site, 12);
    for (String name : CUDNN) {
      Files.delete(in(site + "/nvidia/cudnn/lib/lib" + name + ".so.9"));
      library(site + "/torch/lib", "lib" + name + ".so.9");
    }
    library(site + "/torch/lib", "libtorch_cpu.so");
    library(site + "/torch/lib", "libc10.so");
    library(UBUNTU, "libcuda.so.1");
    NativeLibraries found = find(T4);
    assertThat(found.gpuProblem()).isEmpty();
    assertThat(found.folders()).startsWith(natives).endsWith(in(site + "/torch/lib"));
    assertThat(found.cuda()).doesNotContainKeys("libtorch_cpu.so", "libc10.so");
  }

  @Test
  void whatIsTooOldIsSaid() throws Exception {
    libtorch(13);
    wheels("/usr/local/lib/python3.12/dist-packages", 13);
    library(UBUNTU, "libcuda.so.1");
    assertThat(find(gpu("Tesla T4", "7.5", "550.54.15")).gpuProblem())
        .isEqualTo(
            "Tesla T4: driver 550.54.15 is too old: CUDA 13 needs 580 or newer; the worker's"
                + " archive for CUDA 12 (cu12) runs on it");
    assertThat(find(gpu("Tesla V100", "7.0", "580.1")).gpuProblem())
        .isEqualTo(
            "Tesla V100: compute capability 7.0 is too low: this libtorch for CUDA 13 needs 7.5 or"
                + " higher; the worker's archive for CUDA 12 (cu12) runs on it");
    assertThat(find(gpu("Tesla K80", "3.7", "470.256.02")).gpuProblem())
        .isEqualTo("Tesla K80: driver 470.256.02 is too old: CUDA 13 needs 580 or newer");

    system("2.31", "3.4.28");
    NativeLibraries old = find(T4);
    assertThat(old.problem())
        .isEqualTo(
            "glibc 2.31 is too old: libc10.so needs 2.35 or newer; libstdc++.so.6: GLIBCXX 3.4.28"
                + " is too old: libc10.so needs 3.4.30 or newer");
    assertThat(old.gpuProblem()).startsWith("Tesla T4: glibc 2.31 is too old");
  }

  @Test
  void aGpuThatCannotBeUsedIsRefusedUnlessCpusWillDo() throws Exception {
    libtorch(13);
    wheels("/usr/local/lib/python3.12/dist-packages", 13);
    library(UBUNTU, "libcuda.so.1");
    NativeLibraries old = find(gpu("Tesla T4", "7.5", "550.54.15"));
    assertThatThrownBy(() -> old.refuseWhatDoesNotFit(false))
        .isInstanceOf(IOException.class)
        .message()
        .startsWith("Tesla T4: driver 550.54.15 is too old")
        .endsWith("; or train on CPUs with --allow-cpu")
        .hasLineCount(1);
    old.refuseWhatDoesNotFit(true);
    assertThat(old.gpus()).isEmpty();
    assertThat(old.javaOptions()).contains("-Dbaton.natives.cuda=false");
    assertThat(old.summary()).startsWith("libtorch for CUDA 13 on CPUs: Tesla T4: driver");
    find(T4).refuseWhatDoesNotFit(false);
    find().refuseWhatDoesNotFit(false);

    // What keeps it from CPUs too is no matter of GPUs.
    system("2.31", "3.4.30");
    assertThatThrownBy(() -> find(T4).refuseWhatDoesNotFit(true))
        .isInstanceOf(IOException.class)
        .message()
        .startsWith("libtorch cannot be loaded here: glibc 2.31 is too old")
        .hasLineCount(1);
  }

  @Test
  void theDriversLibraryIsNeeded() throws Exception {
    libtorch(13);
    wheels("/usr/local/lib/python3.12/dist-packages", 13);
    assertThat(find(T4).gpuProblem())
        .isEqualTo(
            "Tesla T4: the driver's libcuda.so.1 is nowhere; put its folder into LD_LIBRARY_PATH");
    Files.createDirectories(in("/proc/driver/nvidia/gpus/0000:00:04.0"));
    assertThat(find().gpuProblem()).contains("nvidia-smi does not");
  }

  @Test
  void withoutAGpuItTrainsOnCpus() throws Exception {
    libtorch(13);
    for (String name : List.of("cudart", "cupti")) {
      cuda("/usr/local/cuda-13.0/lib", name, 13);
    }
    NativeLibraries found = find();
    assertThat(found.problem() + found.gpuProblem()).isEmpty();
    assertThat(found.summary())
        .isEqualTo("libtorch for CUDA 13 on CPUs: there is no NVIDIA GPU here");
    assertThat(found.folders()).containsExactly(natives, in("/usr/local/cuda-13.0/lib"));
    assertThat(found.javaOptions()).contains("-Dbaton.natives.cuda=false");
  }

  @Test
  void theBuildForCpusNeedsNothingOfCudas() throws Exception {
    libtorch(0);
    NativeLibraries found = find(T4);
    assertThat(found.build()).contains(TorchBuild.CPU);
    assertThat(found.problem() + found.gpuProblem()).isEmpty();
    assertThat(found.gpus()).isEmpty();
    assertThat(found.folders()).containsExactly(natives);
    Files.delete(in(UBUNTU + "/libstdc++.so.6"));
    assertThat(find().problem())
        .isEqualTo("missing: libstdc++.so.6; libstdc++.so.6 comes with the package libstdc++6");
  }

  @Test
  void damagedLibrariesAreSkipped() throws Exception {
    libtorch(13);
    wheels("/usr/local/lib/python3.12/dist-packages", 13);
    library(UBUNTU, "libcuda.so.1");
    environment.put("LD_LIBRARY_PATH", "/broken");
    Files.createDirectories(in("/broken"));
    Files.writeString(in("/broken/libcublas.so.13"), "half a download");
    NativeLibraries found = find(T4);
    assertThat(found.gpuProblem()).isEmpty();
    assertThat(found.cuda().get("libcublas.so.13"))
        .isEqualTo(in("/usr/local/lib/python3.12/dist-packages/nvidia/cu13/lib/libcublas.so.13"));
  }
}
