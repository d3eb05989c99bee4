package dev.baton.worker.trainer.torch;

import dev.baton.worker.trainer.TensorInfo.Role;
import java.util.List;
import org.bytedeco.pytorch.Device;
import org.bytedeco.pytorch.GeneratorOptional;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptional;
import org.bytedeco.pytorch.TensorOptions;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;

/**
 * Makes the layers of the built-in models. Each draws its initial values on the CPU when it is
 * made, as Python's module does in its constructor, and then moves them to the device: the order in
 * which layers are made is the order of Python's random numbers. Made and used without recording
 * gradients.
 */
final class Layers {
  private static final long[] NO_DILATION = {1, 1};

  private final Device device;
  private final Owned owned;
  private final GeneratorOptional defaultGenerator;
  private final Scalar one;

  Layers(Device device, Owned owned) {
    this.device = device;
    this.owned = owned;
    this.defaultGenerator = owned.keep(new GeneratorOptional());
    this.one = owned.keep(new Scalar(1));
  }

  /** {@code torch.nn.Conv2d}: {@code [n, in, h, w] → [n, out, h', w']}. */
  Conv2d conv2d(int in, int out, int kernel, int stride, int padding, boolean bias) {
    int fanIn = in * kernel * kernel;
    Tensor weight = parameter(kaimingUniform(fanIn, out, in, kernel, kernel));
    return new Conv2d(
        this,
        weight,
        bias ? some(parameter(biasUniform(fanIn, out))) : owned.keep(new TensorOptional()),
        stride,
        padding);
  }

  /** {@code torch.nn.Linear}: {@code [n, in] → [n, out]}. */
  Linear linear(int in, int out) {
    Tensor weight = parameter(kaimingUniform(in, out, in));
    return new Linear(weight, some(parameter(biasUniform(in, out))), out == 1);
  }

  /** {@code torch.nn.BatchNorm2d}, with eps 1e-5 and momentum 0.1: {@code [n, channels, h, w]}. */
  BatchNorm2d batchNorm2d(int channels) {
    return new BatchNorm2d(
        some(parameter(torch.ones(channels))),
        some(parameter(torch.zeros(channels))),
        some(buffer(torch.zeros(channels))),
        some(buffer(torch.ones(channels))),
        buffer(torch.zeros(new long[0], new TensorOptions(ScalarType.Long))),
        one);
  }

  /** A convolution. */
  static final class Conv2d {
    private final Layers layers;
    private final Tensor weight;
    private final TensorOptional bias;
    private final long[] stride;
    private final long[] padding;

    private Conv2d(Layers layers, Tensor weight, TensorOptional bias, int stride, int padding) {
      this.layers = layers;
      this.weight = weight;
      this.bias = bias;
      this.stride = new long[] {stride, stride};
      this.padding = new long[] {padding, padding};
    }

    /** {@code init.kaiming_normal_(weight, mode="fan_out", nonlinearity="relu")}, drawn anew. */
    void kaimingNormal() {
      long[] shape = weight.shape();
      double std = Math.sqrt(2.0) / Math.sqrt((double) (shape[0] * shape[2] * shape[3]));
      weight.copy_(torch.empty(shape).normal_(0, std, layers.defaultGenerator));
    }

    Tensor forward(Tensor x) {
      return torch.conv2d(x, weight, bias, stride, padding, NO_DILATION, 1);
    }

    void addTo(List<StateTensor> state, String name) {
      state.add(new StateTensor(in(name, "weight"), weight, Role.PARAMETER));
      if (bias.has_value()) {
        state.add(new StateTensor(in(name, "bias"), bias.get(), Role.PARAMETER));
      }
    }
  }

  /** An affine map. */
  record Linear(Tensor weight, TensorOptional bias, boolean oneOutput) {
    Tensor forward(Tensor x) {
      if (!oneOutput || x.dim() != 2) {
        return torch.linear(x, weight, bias);
      }
      // A product of matrix and vector, not of two matrices: half the time, forward and backward.
      Tensor start = bias.get().expand(x.size(0));
      return torch.addmv(start, x, weight.view(-1)).unsqueeze(1);
    }

    void addTo(List<StateTensor> state, String name) {
      state.add(new StateTensor(in(name, "weight"), weight, Role.PARAMETER));
      state.add(new StateTensor(in(name, "bias"), bias.get(), Role.PARAMETER));
    }
  }

  /** A batch normalisation with its running statistics. */
  record BatchNorm2d(
      TensorOptional weight,
      TensorOptional bias,
      TensorOptional runningMean,
      TensorOptional runningVar,
      Tensor batches,
      Scalar one) {

    Tensor forward(Tensor x, boolean training) {
      if (training) {
        batches.add_(one);
      }
      return torch.batch_norm(x, weight, bias, runningMean, runningVar, training, 0.1, 1e-5, true);
    }

    void addTo(List<StateTensor> state, String name) {
      state.add(new StateTensor(in(name, "weight"), weight.get(), Role.PARAMETER));
      state.add(new StateTensor(in(name, "bias"), bias.get(), Role.PARAMETER));
      state.add(new StateTensor(in(name, "running_mean"), runningMean.get(), Role.BUFFER));
      state.add(new StateTensor(in(name, "running_var"), runningVar.get(), Role.BUFFER));
      state.add(new StateTensor(in(name, "num_batches_tracked"), batches, Role.BUFFER));
    }
  }

  /** The state-dict name of a layer's tensor; the layer that is the whole module has no name. */
  private static String in(String layer, String tensor) {
    return layer.isEmpty() ? tensor : layer + "." + tensor;
  }

  /** {@code init.kaiming_uniform_(weight, a=math.sqrt(5))}, in the same arithmetic. */
  private Tensor kaimingUniform(int fanIn, long... shape) {
    double slope = Math.sqrt(5);
    double gain = Math.sqrt(2.0 / (1 + slope * slope));
    double bound = Math.sqrt(3.0) * (gain / Math.sqrt(fanIn));
    return torch.empty(shape).uniform_(-bound, bound, defaultGenerator);
  }

  private Tensor biasUniform(int fanIn, int out) {
    double bound = 1 / Math.sqrt(fanIn);
    return torch.empty(out).uniform_(-bound, bound, defaultGenerator);
  }

  private Tensor parameter(Tensor drawn) {
    return owned.keep(drawn.to(device, ScalarType.Float).set_requires_grad(true));
  }

  private Tensor buffer(Tensor initial) {
    return owned.keep(initial.to(device, initial.scalar_type()));
  }

  private TensorOptional some(Tensor tensor) {
    return owned.keep(new TensorOptional(tensor));
  }
}
