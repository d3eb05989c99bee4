package dev.baton.worker.trainer.torch;

import java.util.List;
import org.bytedeco.pytorch.Device;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;

/**
 * The classifier of PyTorch's 60-minute tutorial: {@code [n, 3, 32, 32] → [n, classes]}.
 * https://pytorch.org/tutorials/beginner/blitz/cifar10_tutorial.html
 */
final class LeNet extends AbstractModel {
  private final int classes;
  private final KernelChoice kernels;
  private final Layers.Conv2d conv1;
  private final Layers.Conv2d conv2;
  private final Layers.Linear fc1;
  private final Layers.Linear fc2;
  private final Layers.Linear fc3;

  /**
   * @param batch samples that go through at a time, for the choice of kernels
   */
  LeNet(int classes, int batch, Device device) {
    this.classes = classes;
    // At 4 samples a step takes 0.75 of oneDNN's time without it. Where the two meet was not
    // measured; 32 is a guess, and part of every result from then on.
    this.kernels = new KernelChoice(false, batch >= 32);
    Layers layers = layers(device);
    this.conv1 = layers.conv2d(3, 6, 5, 1, 0, true);
    this.conv2 = layers.conv2d(6, 16, 5, 1, 0, true);
    this.fc1 = layers.linear(400, 120);
    this.fc2 = layers.linear(120, 84);
    this.fc3 = layers.linear(84, classes);
    List<StateTensor> state = register();
    conv1.addTo(state, "conv1");
    conv2.addTo(state, "conv2");
    fc1.addTo(state, "fc1");
    fc2.addTo(state, "fc2");
    fc3.addTo(state, "fc3");
  }

  @Override
  public Tensor forward(Tensor x) {
    x = torch.max_pool2d(torch.relu_(conv1.forward(x)), 2, 2);
    x = torch.max_pool2d(torch.relu_(conv2.forward(x)), 2, 2);
    x = x.flatten(1, -1);
    x = torch.relu_(fc1.forward(x));
    x = torch.relu_(fc2.forward(x));
    return fc3.forward(x);
  }

  @Override
  public KernelChoice kernels() {
    return kernels;
  }

  @Override
  public String python() {
    return """
        import torch.nn.functional as F
        from torch import nn


        class LeNet(nn.Module):
            def __init__(self):
                super().__init__()
                self.conv1, self.conv2 = nn.Conv2d(3, 6, 5), nn.Conv2d(6, 16, 5)
                self.fc1, self.fc2, self.fc3 = nn.Linear(400, 120), nn.Linear(120, 84), nn.Linear(84, %d)

            def forward(self, x):
                x = F.max_pool2d(F.relu(self.conv1(x)), 2)
                x = F.max_pool2d(F.relu(self.conv2(x)), 2)
                return self.fc3(F.relu(self.fc2(F.relu(self.fc1(x.flatten(1))))))


        net = LeNet()
        """
        .formatted(classes);
  }
}
