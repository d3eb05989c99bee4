package dev.baton.worker.trainer.torch;

import java.util.List;
import org.bytedeco.pytorch.CompilationUnit;
import org.bytedeco.pytorch.Function;
import org.bytedeco.pytorch.IValue;
import org.bytedeco.pytorch.IValueVector;
import org.bytedeco.pytorch.QualifiedName;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;

/**
 * Operators on lists of tensors (fused optimizers, foreach), which JavaCPP does not map.
 * TorchScript reaches them, at one crossing from Java to native code for a whole list.
 */
final class CompiledFunctions implements AutoCloseable {

  // `new IValue(TensorVector)` aborts the process, and a function that returns `[]` hands out one
  // shared list: lists begin as `[t]`.
  private static final String SOURCE =
      """
      def list_of(first: Tensor) -> List[Tensor]:
          return [first]

      def append(tensors: List[Tensor], tensor: Tensor) -> None:
          tensors.append(tensor)

      def gradients(parameters: List[Tensor]) -> List[Tensor]:
          out: List[Tensor] = []
          for p in parameters:
              g = p.grad
              if g is None:
                  out.append(torch.zeros_like(p))
              else:
                  out.append(g)
          return out

      def append_scaled(tensors: List[Tensor], more: List[Tensor], weight: float) -> None:
          for t in more:
              tensors.append(t * weight)

      def add(left: List[Tensor], right: List[Tensor]) -> None:
          torch._foreach_add_(left, right)

      def first(tensors: List[Tensor], count: int) -> List[Tensor]:
          return tensors[:count]

      def clones(tensors: List[Tensor]) -> List[Tensor]:
          out: List[Tensor] = []
          for t in tensors:
              out.append(t.clone())
          return out

      def copy(target: List[Tensor], source: List[Tensor], skip: int) -> None:
          i = skip
          for t in target:
              t.copy_(source[i])
              i += 1

      def sgd(parameters: List[Tensor], gradients: List[Tensor], momentum_buffers: List[Tensor],
              lr: float, momentum: float, weight_decay: float, nesterov: bool) -> None:
          torch._fused_sgd_(parameters, gradients, momentum_buffers, weight_decay=weight_decay,
              momentum=momentum, lr=lr, dampening=0.0, nesterov=nesterov, maximize=False, is_first_step=False)

      def plain_sgd(parameters: List[Tensor], gradients: List[Tensor], lr: float, weight_decay: float) -> None:
          torch._fused_sgd_(parameters, gradients, [], weight_decay=weight_decay,
              momentum=0.0, lr=lr, dampening=0.0, nesterov=False, maximize=False, is_first_step=False)

      def adam(parameters: List[Tensor], gradients: List[Tensor], exp_avgs: List[Tensor], exp_avg_sqs: List[Tensor],
               steps: List[Tensor], lr: float, beta1: float, beta2: float, eps: float, weight_decay: float) -> None:
          torch._foreach_add_(steps, 1)
          torch._fused_adam_(parameters, gradients, exp_avgs, exp_avg_sqs, [], steps, lr=lr,
              beta1=beta1, beta2=beta2, weight_decay=weight_decay, eps=eps, amsgrad=False, maximize=False)

      def adamw(parameters: List[Tensor], gradients: List[Tensor], exp_avgs: List[Tensor], exp_avg_sqs: List[Tensor],
                steps: List[Tensor], lr: float, beta1: float, beta2: float, eps: float, weight_decay: float) -> None:
          torch._foreach_add_(steps, 1)
          torch._fused_adamw_(parameters, gradients, exp_avgs, exp_avg_sqs, [], steps, lr=lr,
              beta1=beta1, beta2=beta2, weight_decay=weight_decay, eps=eps, amsgrad=False, maximize=False)
      """;

  private final Owned owned;
  private final CompilationUnit unit;
  private final IValue none;

  CompiledFunctions() {
    this.owned = new Owned();
    this.unit = owned.keep(torch.compile(SOURCE));
    this.none = owned.keep(new IValue());
  }

  private CompiledFunctions(CompiledFunctions functions, Owned owned) {
    this.owned = owned;
    this.unit = functions.unit;
    this.none = functions.none;
  }

  /** The same functions; another owner keeps the lists and calls that are made of them. */
  CompiledFunctions keptBy(Owned owner) {
    return new CompiledFunctions(this, owner);
  }

  /** The function of that name, with its arguments to be filled in. */
  Call call(String name, int arguments) {
    return new Call(unit.get_function(new QualifiedName(name)), arguments);
  }

  /** A list for {@link Call}s, kept by this. Its tensors are shared, not copied. */
  IValue list(List<Tensor> tensors) {
    IValue list = call("list_of", 1).set(0, new IValue(tensors.get(0))).apply();
    Call append = call("append", 2).set(0, list);
    for (Tensor tensor : tensors.subList(1, tensors.size())) {
      append.set(1, new IValue(tensor)).apply();
    }
    return owned.keep(list);
  }

  /** A function with its arguments, which are kept from call to call. */
  final class Call {
    private final Function function;
    private final IValueVector arguments;

    private Call(Function function, int arguments) {
      this.function = function;
      this.arguments = owned.keep(new IValueVector(arguments));
    }

    Call set(int index, IValue value) {
      arguments.put(index, value);
      return this;
    }

    Call set(int index, long value) {
      return set(index, new IValue(value));
    }

    Call set(int index, double value) {
      return set(index, new IValue(value));
    }

    Call set(int index, boolean value) {
      return set(index, new IValue(value));
    }

    /** Lets go of an argument. */
    void clear(int index) {
      arguments.put(index, none);
    }

    /** The result belongs to the scope that is open. */
    IValue apply() {
      return function.apply(arguments);
    }
  }

  @Override
  public void close() {
    owned.close();
  }
}
