package dev.baton.worker.trainer;

import dev.baton.v1.Result;
import dev.baton.worker.checkpoint.PthWriter;
import dev.baton.worker.checkpoint.SafetensorsWriter;
import dev.baton.worker.checkpoint.StateDigest;
import dev.baton.worker.trainer.Engine.Totals;
import dev.baton.worker.trainer.EpochSummary.ClassCount;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;

/** What a finished run leaves: the model in three forms, and its result. */
final class ModelFiles {
  static final List<String> NAMES = List.of("model.safetensors", "model.pth", "model.py");

  private static final String LOADING =
      """


      if __name__ == "__main__":
          import sys

          import torch

          file = sys.argv[1] if len(sys.argv) > 1 else "model.pth"
          net.load_state_dict(torch.load(file, map_location="cpu", weights_only=True))
          net.eval()
          print(net)
      """;

  private ModelFiles() {}

  /** Writes the state dict of a state that {@link Engine#copyStateTo} filled. */
  static void write(Path dir, List<TensorInfo> layout, List<ByteBuffer> state, String pythonModule)
      throws IOException {
    List<TensorInfo> tensors = new ArrayList<>();
    List<ByteBuffer> data = new ArrayList<>();
    for (int i = 0; i < layout.size(); i++) {
      if (layout.get(i).inStateDict()) {
        tensors.add(layout.get(i));
        data.add(state.get(i));
      }
    }
    SafetensorsWriter.write(
        dir.resolve("model.safetensors"), tensors, data, Map.of("format", "pt"));
    PthWriter.write(dir.resolve("model.pth"), tensors, data);
    Files.writeString(dir.resolve("model.py"), pythonModule.stripTrailing() + "\n" + LOADING);
  }

  /** The result of a run whose last epoch is given; whether it is exact is not known here. */
  static Result result(
      List<TensorInfo> layout,
      List<ByteBuffer> state,
      EpochSummary last,
      int classes,
      List<String> classNames) {
    Totals train = last.train();
    Totals judged = last.eval() == null ? train : last.eval();
    Result.Builder result =
        Result.newBuilder()
            .setWeightsSha256(StateDigest.weightsSha256(layout, state))
            .putMetrics("loss", judged.loss() / judged.samples())
            .putMetrics("train_loss", train.loss() / train.samples());
    if (classes > 0) {
      result
          .putMetrics("accuracy", judged.correct() / judged.samples())
          .putMetrics("train_accuracy", train.correct() / train.samples());
    }
    for (int i = 0; i < last.evalByClass().size(); i++) {
      ClassCount count = last.evalByClass().get(i);
      if (count.seen() > 0) {
        result.putMetrics(
            "class_accuracy/" + className(classNames, i), count.correct() / count.seen());
      }
    }
    return result.build();
  }

  static String className(List<String> classNames, int index) {
    return index < classNames.size() ? classNames.get(index) : Integer.toString(index);
  }
}
