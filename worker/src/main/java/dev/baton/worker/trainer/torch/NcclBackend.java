package dev.baton.worker.trainer.torch;

import org.bytedeco.javacpp.chrono.Milliseconds;
import org.bytedeco.pytorch.Backend;
import org.bytedeco.pytorch.Store;
import org.bytedeco.pytorch.nccl.ProcessGroupNCCL;

/**
 * c10d's NCCL backend, apart from everything else: its class's initialiser wants CUDA's classes,
 * which only the build for GPUs has, so nothing may touch it elsewhere.
 */
final class NcclBackend {
  private NcclBackend() {}

  /**
   * @throws IllegalStateException where this is not the build for GPUs
   */
  static Backend create(Store store, int rank, int size, Milliseconds timeout) {
    try {
      ProcessGroupNCCL.Options options = new ProcessGroupNCCL.Options();
      options.timeout(timeout);
      return new ProcessGroupNCCL(store, rank, size, options);
    } catch (LinkageError e) {
      throw new IllegalStateException("NCCL is not part of this build: build with -Pgpu", e);
    }
  }
}
