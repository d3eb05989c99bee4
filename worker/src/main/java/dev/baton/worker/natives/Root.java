package dev.baton.worker.natives;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;

/**
 * A library that {@link NativeLoader} loads, and whose needs {@link NativeLibraries} therefore
 * looks for.
 *
 * @param cuda only where a GPU is to be used
 * @param core every build has it, and nothing runs without; in others builds differ
 * @param optional training on one GPU does without: what it needs may be missing
 */
record Root(String name, boolean cuda, boolean core, boolean optional) {
  /** Every one, in the order of loading: the bindings find libtorch's own loaded already. */
  static final List<Root> ALL =
      List.of(
          new Root("libtorch_cpu.so", false, true, false),
          new Root("libtorch_cuda.so", true, true, false),
          new Root("libjnijavacpp.so", false, true, false),
          new Root("libjnitorch.so", false, true, false),
          new Root("libjnitorch_gloo.so", false, false, false),
          new Root("libjnigloo.so", false, false, false),
          new Root("libjnicudart.so", true, false, true),
          // libtorch would open it itself when a job first needs it.
          new Root("libtorch_cuda_linalg.so", true, false, false),
          new Root("libjnitorch_cuda.so", true, false, false),
          new Root("libjninccl.so", true, false, true),
          new Root("libjnitorch_nccl.so", true, false, true));

  /** Whether it is to be loaded from a folder: one that every build has must be there. */
  boolean isExpectedIn(Path natives) {
    return core || Files.exists(natives.resolve(name));
  }
}
