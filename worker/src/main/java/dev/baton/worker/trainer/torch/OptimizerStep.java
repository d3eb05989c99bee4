package dev.baton.worker.trainer.torch;

import dev.baton.v1.Adam;
import dev.baton.v1.Optimizer;
import dev.baton.v1.Sgd;
import dev.baton.worker.trainer.TensorInfo.Role;
import dev.baton.worker.trainer.TrainingException;
import java.util.ArrayList;
import java.util.List;
import org.bytedeco.pytorch.IValue;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptions;
import org.bytedeco.pytorch.global.torch;

/**
 * SGD, Adam or AdamW, as {@code torch.optim} defines them, with their tensors by parameter name.
 * These are all there from the start, as zeros, which changes no result: momentum times a buffer of
 * zeros plus the gradient is the gradient, which PyTorch begins with.
 */
final class OptimizerStep implements AutoCloseable {
  private final Owned owned = new Owned();
  private final List<StateTensor> state = new ArrayList<>();
  private final CompiledFunctions functions;
  private final CompiledFunctions.Call call;

  /**
   * @param parameters every one requires gradients
   */
  OptimizerStep(Optimizer spec, List<StateTensor> parameters, CompiledFunctions functions) {
    this.functions = functions;
    this.call =
        switch (spec.getKindCase()) {
          case SGD -> sgd(spec.getSgd(), parameters);
          case ADAM -> adam("adam", spec.getAdam(), 0, parameters);
          case ADAMW -> adam("adamw", spec.getAdamw(), 0.01, parameters);
          case KIND_NOT_SET ->
              throw TrainingException.userError(
                  "training.optimizer is missing; it must be one of sgd, adam, adamw");
        };
    call.set(0, functions.list(parameters.stream().map(StateTensor::tensor).toList()));
  }

  /** The optimizer's tensors. */
  List<StateTensor> state() {
    return List.copyOf(state);
  }

  /**
   * One step, without recording gradients.
   *
   * @param gradients a list in the parameters' order
   */
  void apply(IValue gradients) {
    call.set(1, gradients).apply();
    // Else they would live until the next step's are there.
    call.clear(1);
  }

  private CompiledFunctions.Call sgd(Sgd spec, List<StateTensor> parameters) {
    if (spec.getMomentum() == 0) {
      return functions.call("plain_sgd", 4).set(2, spec.getLr()).set(3, spec.getWeightDecay());
    }
    return functions
        .call("sgd", 7)
        .set(2, zeros("momentum_buffer", parameters, false))
        .set(3, spec.getLr())
        .set(4, spec.getMomentum())
        .set(5, spec.getWeightDecay())
        .set(6, spec.getNesterov());
  }

  private CompiledFunctions.Call adam(
      String function, Adam spec, double defaultDecay, List<StateTensor> parameters) {
    List<Double> betas = spec.getBetasCount() == 0 ? List.of(0.9, 0.999) : spec.getBetasList();
    if (betas.size() != 2) {
      throw TrainingException.userError(
          "training.optimizer."
              + function
              + ".betas has "
              + betas.size()
              + " numbers; it must have 2");
    }
    return functions
        .call(function, 10)
        .set(2, zeros("exp_avg", parameters, false))
        .set(3, zeros("exp_avg_sq", parameters, false))
        .set(4, zeros("step", parameters, true))
        .set(5, spec.hasLr() ? spec.getLr() : 0.001)
        .set(6, betas.get(0))
        .set(7, betas.get(1))
        .set(8, spec.hasEps() ? spec.getEps() : 1e-8)
        .set(9, spec.hasWeightDecay() ? spec.getWeightDecay() : defaultDecay);
  }

  private IValue zeros(String kind, List<StateTensor> parameters, boolean scalar) {
    List<Tensor> tensors = new ArrayList<>();
    for (StateTensor parameter : parameters) {
      Tensor like = parameter.tensor();
      Tensor tensor =
          owned.keep(
              scalar
                  ? torch.zeros(new long[0], new TensorOptions(like.device()))
                  : torch.zeros_like(like));
      tensors.add(tensor);
      state.add(
          new StateTensor("optimizer/" + kind + "/" + parameter.name(), tensor, Role.OPTIMIZER));
    }
    return functions.list(tensors);
  }

  @Override
  public void close() {
    owned.close();
  }
}
