package dev.baton.worker.natives;

import java.nio.file.Path;

/**
 * Loads libtorch and its Java bindings from the folder that {@link NativeLibraries#javaOptions}
 * names. JavaCPP's own loader would look for CUDA in places of its own and write links to what it
 * finds beside the libraries.
 */
public final class NativeLoader {
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
    boolean cuda = Boolean.getBoolean(NativeLibraries.CUDA_PROPERTY);
    for (Root root : Root.ALL) {
      if ((cuda || !root.cuda()) && root.isExpectedIn(natives)) {
        load(natives.resolve(root.name()), root);
      }
    }
    return true;
  }

  private static void load(Path library, Root root) {
    try {
      System.load(library.toString());
    } catch (UnsatisfiedLinkError e) {
      if (root.core() || !root.cuda()) {
        throw e;
      }
      // Training on one GPU may do without; what does not fails where it calls them.
      System.err.println("not loaded: " + e.getMessage());
    }
  }
}
