package dev.baton.worker.checkpoint;

import dev.baton.worker.trainer.TensorInfo;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;

/**
 * The complete state of a run as one safetensors file: state-dict names, the optimizer's tensors,
 * and the {@link RunState} in the metadata.
 */
public final class CheckpointFile {
  private static final String RUN_STATE = "baton";

  private CheckpointFile() {}

  /** Writes a file, whole or not at all; buffers as in {@link SafetensorsWriter#write}. */
  public static void write(
      Path file, List<TensorInfo> layout, List<ByteBuffer> data, RunState state)
      throws IOException {
    SafetensorsWriter.write(file, layout, data, Map.of("format", "pt", RUN_STATE, state.toJson()));
  }

  /**
   * Reads a file into one buffer for each tensor of the layout.
   *
   * @throws CheckpointException where it is damaged, of another job, or of another model
   */
  public static RunState read(
      Path file, List<TensorInfo> layout, List<ByteBuffer> target, String specDigest)
      throws IOException {
    try (SafetensorsReader reader = SafetensorsReader.open(file)) {
      String json = reader.metadata().get(RUN_STATE);
      if (json == null) {
        throw new CheckpointException(file + " holds no run state: it is no checkpoint of a job");
      }
      RunState state;
      try {
        state = RunState.fromJson(json);
      } catch (CheckpointException e) {
        throw new CheckpointException(file + ": " + e.getMessage(), e);
      }
      if (!state.specDigest().equals(specDigest)) {
        throw new CheckpointException(
            "%s is of another job: its spec's digest is %s, this job's %s"
                .formatted(file, state.specDigest(), specDigest));
      }
      check(file, layout, reader.tensors());
      for (int i = 0; i < layout.size(); i++) {
        reader.read(layout.get(i).name(), target.get(i).clear());
      }
      return state;
    }
  }

  private static void check(
      Path file, List<TensorInfo> layout, Map<String, SafetensorsReader.Entry> found)
      throws CheckpointException {
    for (TensorInfo tensor : layout) {
      SafetensorsReader.Entry entry = found.get(tensor.name());
      if (entry == null) {
        throw new CheckpointException(
            "%s lacks tensor '%s' of this job's model".formatted(file, tensor.name()));
      }
      if (entry.dtype() != tensor.dtype() || !entry.shape().equals(tensor.shape())) {
        throw new CheckpointException(
            "%s: tensor '%s' is %s %s; this job's model has %s %s"
                .formatted(
                    file,
                    tensor.name(),
                    entry.dtype(),
                    entry.shape(),
                    tensor.dtype(),
                    tensor.shape()));
      }
    }
    if (found.size() > layout.size()) {
      throw new CheckpointException(
          "%s holds %d tensors; this job's model has %d"
              .formatted(file, found.size(), layout.size()));
    }
  }
}
