package dev.baton.worker.trainer.torch;

import org.bytedeco.pytorch.Device;
import org.bytedeco.pytorch.Tensor;

/** {@code torch.nn.Linear} alone; pictures are flattened: {@code [n, ...] → [n, outputs]}. */
final class LinearModel extends AbstractModel {
  private final int features;
  private final int outputs;
  private final Layers.Linear linear;

  LinearModel(int features, int outputs, Device device) {
    this.features = features;
    this.outputs = outputs;
    this.linear = layers(device).linear(features, outputs);
    linear.addTo(register(), "");
  }

  @Override
  public Tensor forward(Tensor x) {
    return linear.forward(x.dim() == 2 ? x : x.flatten(1, -1));
  }

  @Override
  public String python() {
    return """
        from torch import nn


        class Linear(nn.Linear):
            def forward(self, x):
                return super().forward(x.flatten(1))


        net = Linear(%d, %d)
        """
        .formatted(features, outputs);
  }
}
