package dev.baton.worker.trainer.torch;

import java.util.List;
import org.bytedeco.pytorch.Device;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;

/** A small convolutional net for digits: {@code [n, 1, h, w] → [n, classes]}. */
final class MnistCnn extends AbstractModel {
  /** The smallest edge of a picture that leaves a pixel after both poolings. */
  static final int SMALLEST = 14;

  private static final long[] NONE = {0, 0};
  private static final long[] ONE = {1, 1};

  private final int classes;
  private final Layers.Conv2d conv1;
  private final Layers.Conv2d conv2;
  private final Layers.Linear fc1;
  private final Layers.Linear fc2;

  MnistCnn(int classes, Device device) {
    this.classes = classes;
    Layers layers = layers(device);
    this.conv1 = layers.conv2d(1, 32, 3, 1, 0, true);
    this.conv2 = layers.conv2d(32, 64, 5, 1, 0, true);
    this.fc1 = layers.linear(64, 32);
    this.fc2 = layers.linear(32, classes);
    List<StateTensor> state = register();
    conv1.addTo(state, "layers.0");
    conv2.addTo(state, "layers.2");
    fc1.addTo(state, "layers.7");
    fc2.addTo(state, "layers.9");
  }

  @Override
  public Tensor forward(Tensor x) {
    x = torch.max_pool2d(conv1.forward(x), 2, 2);
    x = torch.max_pool2d(conv2.forward(x), 2, 2);
    x = torch.feature_dropout(x, 0.1, training());
    // AdaptiveMaxPool2d((1, 1)), whose backward has no deterministic form on GPUs.
    long[] picture = {x.size(2), x.size(3)};
    x = torch.max_pool2d(x, picture, picture, NONE, ONE, false).flatten(1, -1);
    return fc2.forward(torch.relu_(fc1.forward(x)));
  }

  @Override
  public KernelChoice kernels() {
    return new KernelChoice(true, true);
  }

  @Override
  public String python() {
    return """
        from torch import nn


        class MnistCnn(nn.Module):
            def __init__(self):
                super().__init__()
                self.layers = nn.Sequential(
                    nn.Conv2d(1, 32, 3), nn.MaxPool2d(2, 2), nn.Conv2d(32, 64, 5), nn.MaxPool2d(2, 2), nn.Dropout2d(0.1),
                    nn.AdaptiveMaxPool2d((1, 1)), nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, %d))

            def forward(self, x):
                return self.layers(x)


        net = MnistCnn()
        """
        .formatted(classes);
  }
}
