package dev.baton.worker.natives;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;

/**
 * Loads libtorch and its Java bindings from the folder that {@link NativeLibraries#javaOptions}
 * names. JavaCPP's own loader would look for CUDA in places of its own and write links to what it
 * finds beside the libraries.
 */
public final class NativeLoader {
  private static final List<String> BINDINGS =
      List.of("libjnijavacpp.so", "libjnitorch.so", "libjnitorch_gloo.so", "libjnigloo.so");
  private static final String CUDA = "libtorch_cuda.so";
  private static final List<String> CUDA_BINDINGS =
      List.of("libjnicudart.so", "libjnitorch_cuda.so", "libjninccl.so", "libjnitorch_nccl.so");

  private NativeLoader() {}

  /**
   * Loads them, those for CUDA where a GPU is to be used.
   *
   * @return false where no folder is named: they lie in jars on the class path
   * @throws UnsatisfiedLinkError where they do not fit this machine
   */
  public static boolean load() {
    String folder = System.getProperty(NativeLibraries.PROPERTY);
    if (folder == null) {
      return false;
    }
    Path natives = Path.of(folder).toAbsolutePath();
    // libtorch's own first: the bindings find it loaded already.
    System.load(natives.resolve("libtorch_cpu.so").toString());
    boolean cuda = Boolean.getBoolean(NativeLibraries.CUDA_PROPERTY);
    if (cuda) {
      System.load(natives.resolve(CUDA).toString());
    }
    load(natives, BINDINGS);
    if (cuda) {
      for (String binding : CUDA_BINDINGS) {
        try {
          load(natives, List.of(binding));
        } catch (UnsatisfiedLinkError e) {
          // Training on one GPU does without; what does not fails where it calls them.
          System.err.println("not loaded: " + e.getMessage());
        }
      }
    }
    return true;
  }

  // Builds differ in which they have.
  private static void load(Path natives, List<String> names) {
    for (String name : names) {
      Path library = natives.resolve(name);
      if (Files.exists(library)) {
        System.load(library.toString());
      }
    }
  }
}
