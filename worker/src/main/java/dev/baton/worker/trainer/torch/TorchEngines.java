package dev.baton.worker.trainer.torch;

import dev.baton.v1.JobSpec;
import dev.baton.worker.data.SampleFormat;
import dev.baton.worker.natives.NativeLoader;
import dev.baton.worker.process.NvidiaSmi;
import dev.baton.worker.trainer.Engine;
import dev.baton.worker.trainer.EngineFactory;
import dev.baton.worker.trainer.Seeds;
import dev.baton.worker.trainer.Seeds.Purpose;
import dev.baton.worker.trainer.TrainingException;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.Objects;
import java.util.function.LongSupplier;
import org.bytedeco.javacpp.Loader;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Context;
import org.bytedeco.pytorch.SizeTPair;
import org.bytedeco.pytorch.global.torch;
import org.jspecify.annotations.Nullable;

/** libtorch, loaded, with settings under which it gives the same bits every time. */
public final class TorchEngines implements EngineFactory {
  private static final String[] PACKAGES = {"javacpp", "openblas", "cuda", "pytorch"};

  private static final String VISIBLE_GPUS = "CUDA_VISIBLE_DEVICES";

  private final Build build = Build.loaded();
  private @Nullable String cudaKind;

  private TorchEngines() {}

  /**
   * Loads libtorch into this process and sets it up; about a second. The environment must be {@link
   * dev.baton.worker.process.TrainerEnvironment}'s.
   *
   * @throws UncheckedIOException where the native libraries cannot be unpacked
   * @throws UnsatisfiedLinkError where they do not fit this machine
   */
  public static TorchEngines load() {
    if (!NativeLoader.load()) {
      unpack();
      Loader.load(torch.class);
    }
    try (PointerScope scope = new PointerScope()) {
      Context context = torch.globalContext();
      context.setDeterministicAlgorithms(true, false);
      context.setDeterministicFillUninitializedMemory(false);
      context.setDeterministicCuDNN(true);
      context.setBenchmarkCuDNN(false);
      context.setAllowTF32CuDNN(false);
      context.setAllowTF32CuBLAS(false);
      torch.set_num_threads(threads());
    }
    return new TorchEngines();
  }

  /**
   * All natives before any is loaded: one that is loaded while another is not unpacked yet finds a
   * foreign libtorch in the system's library path instead, and crashes.
   */
  private static void unpack() {
    try {
      for (String name : PACKAGES) {
        for (String extension : new String[] {"", "-gpu"}) {
          Loader.cacheResources(
              "/org/bytedeco/" + name + "/" + Loader.getPlatform() + extension + "/");
        }
      }
    } catch (IOException e) {
      throw new UncheckedIOException("libtorch cannot be unpacked: " + e.getMessage(), e);
    }
  }

  private static int threads() {
    String variable = System.getenv("OMP_NUM_THREADS");
    try {
      return variable == null ? 1 : Math.max(1, Integer.parseInt(variable));
    } catch (NumberFormatException e) {
      throw new IllegalArgumentException(
          "OMP_NUM_THREADS is \"" + variable + "\"; it must be a number", e);
    }
  }

  @Override
  public String libtorch() {
    return build.version();
  }

  /** Whether libtorch can use a GPU here. */
  public boolean hasCuda() {
    return torch.cuda_is_available();
  }

  @Override
  public boolean hasReplicas() {
    return replicas();
  }

  /** Whether this libtorch's classes are all there; loads no native library. */
  static boolean replicas() {
    try {
      return ReplicaGroup.isAvailable();
    } catch (LinkageError e) {
      // libtorch 2.7, for CUDA 12: the verifier misses classes that it names.
      return false;
    }
  }

  @Override
  public String kind(String device) {
    if (!isCuda(device)) {
      return build.cpuKind();
    }
    String known = cudaKind;
    if (known == null) {
      known = build.cudaKind();
      // A spare trainer has time to ask the driver; a job that waits to go on has not.
      cudaKind = known;
    }
    return known;
  }

  @Override
  public Engine create(JobSpec spec, SampleFormat format, String device) {
    return create(spec, format, device, false);
  }

  /** As {@link #create}, with forward and loss under bfloat16 autocast: for measurements alone. */
  public Engine createAutocast(JobSpec spec, SampleFormat format, String device) {
    return create(spec, format, device, true);
  }

  private Engine create(JobSpec spec, SampleFormat format, String device, boolean autocast) {
    long seed = spec.getTraining().getSeed();
    return new TorchEngine(
        spec,
        format,
        kind(device),
        isCuda(device),
        Seeds.mix32(seed, Purpose.INITIALISATION, 0, 0),
        TorchEngine.ForwardSeeds.of(seed),
        autocast,
        freeBytes(device));
  }

  /** As {@link #create}, with the generators' seeds as a Python program would set them. */
  Engine createSeeded(
      JobSpec spec, SampleFormat format, long initialisation, TorchEngine.ForwardSeeds forward) {
    return new TorchEngine(
        spec, format, kind("cpu"), false, initialisation, forward, false, freeBytes("cpu"));
  }

  /** As {@link #create} on a CPU that holds samples like a GPU of that much free memory. */
  Engine createHolding(JobSpec spec, SampleFormat format, long freeBytes) {
    long seed = spec.getTraining().getSeed();
    return new TorchEngine(
        spec,
        format,
        kind("cpu"),
        false,
        Seeds.mix32(seed, Purpose.INITIALISATION, 0, 0),
        TorchEngine.ForwardSeeds.of(seed),
        false,
        () -> freeBytes);
  }

  /**
   * A CPU reads samples where they are: it holds none. Nor does a GPU where {@code
   * BATON_SAMPLES_ON_HOST} is set, for measurements.
   */
  private static LongSupplier freeBytes(String device) {
    boolean holds = device.equals("cuda") && System.getenv("BATON_SAMPLES_ON_HOST") == null;
    return holds ? TorchEngines::freeOnGpu : () -> 0;
  }

  private static long freeOnGpu() {
    try {
      return FreeMemory.bytes();
    } catch (LinkageError e) {
      // libtorch 2.7, for CUDA 12, does not say.
      return NvidiaSmi.freeBytes(Objects.requireNonNullElse(System.getenv(VISIBLE_GPUS), "0"));
    }
  }

  /** A class of its own, since libtorch 2.7 lacks one that it names. */
  private static final class FreeMemory {
    static long bytes() {
      try (SizeTPair freeAndTotal = torch.getMemoryInfo((byte) 0)) {
        return freeAndTotal.first();
      }
    }
  }

  private boolean isCuda(String device) {
    return switch (device) {
      case "cpu" -> false;
      case "cuda" -> {
        if (!hasCuda()) {
          throw TrainingException.userError(
              "device is cuda, but libtorch " + libtorch() + " sees no GPU on this machine");
        }
        yield true;
      }
      default ->
          throw new IllegalArgumentException(
              "device is \"" + device + "\"; it must be cpu or cuda");
    };
  }
}
