package dev.baton.worker.trainer.torch;

import java.util.List;
import org.bytedeco.pytorch.IValue;
import org.bytedeco.pytorch.Tensor;

/** Some tensors of a state as a list for compiled functions, to be copied and written together. */
final class TensorList {
  private final IValue tensors;
  private final CompiledFunctions.Call clones;
  private final CompiledFunctions.Call copy;
  private final CompiledFunctions.Call appendScaled;

  /**
   * @param tensors one at least
   */
  TensorList(List<Tensor> tensors, CompiledFunctions functions) {
    this.tensors = functions.list(tensors);
    this.clones = functions.call("clones", 1).set(0, this.tensors);
    this.copy = functions.call("copy", 3).set(0, this.tensors);
    this.appendScaled = functions.call("append_scaled", 3).set(1, this.tensors);
  }

  /** The tensors themselves. */
  IValue list() {
    return tensors;
  }

  /** Their values now; belongs to the scope that is open. */
  IValue snapshot() {
    return clones.apply();
  }

  /** Overwrites them with the elements of a list from index {@code skip} on. */
  void write(IValue list, int skip) {
    copy.set(1, list).set(2, (long) skip).apply();
    copy.clear(1);
  }

  /** Appends their values times a weight to a list. */
  void appendTo(IValue list, double weight) {
    appendScaled.set(0, list).set(2, weight).apply();
    appendScaled.clear(0);
  }
}
