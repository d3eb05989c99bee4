package dev.baton.worker.trainer.torch;

import java.util.List;
import org.bytedeco.pytorch.Device;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.jspecify.annotations.Nullable;

/**
 * ResNet-18 as "Dive into Deep Learning" builds it, with biases in its convolutions: {@code [n,
 * channels, h, w] → [n, classes]}. https://d2l.ai/chapter_convolutional-modern/resnet.html
 */
final class ResNet18D2l extends ResidualNet<ResNet18D2l.Residual> {
  record Residual(
      Layers.Conv2d conv1,
      Layers.Conv2d conv2,
      Layers.@Nullable Conv2d conv3,
      Layers.BatchNorm2d bn1,
      Layers.BatchNorm2d bn2)
      implements Block {

    static Residual create(Layers layers, int in, int out, int stride) {
      return new Residual(
          layers.conv2d(in, out, 3, stride, 1, true),
          layers.conv2d(out, out, 3, 1, 1, true),
          stride > 1 ? layers.conv2d(in, out, 1, stride, 0, true) : null,
          layers.batchNorm2d(out),
          layers.batchNorm2d(out));
    }

    @Override
    public Tensor forward(Tensor x, boolean training) {
      Tensor y = torch.relu_(bn1.forward(conv1.forward(x), training));
      y = bn2.forward(conv2.forward(y), training);
      return torch.relu_(y.add_(conv3 == null ? x : conv3.forward(x)));
    }

    @Override
    public void addTo(List<StateTensor> state, String name) {
      conv1.addTo(state, name + ".conv1");
      conv2.addTo(state, name + ".conv2");
      if (conv3 != null) {
        conv3.addTo(state, name + ".conv3");
      }
      bn1.addTo(state, name + ".bn1");
      bn2.addTo(state, name + ".bn2");
    }
  }

  ResNet18D2l(int channels, int classes, Device device) {
    super(
        channels,
        classes,
        device,
        true,
        new Names("0", "1", stage -> Integer.toString(4 + stage), "10"),
        Residual::create);
  }

  @Override
  public String python() {
    return """
        import torch.nn.functional as F
        from torch import nn


        class Residual(nn.Module):
            def __init__(self, i, o, down):
                super().__init__()
                stride = 2 if down else 1
                self.conv1, self.conv2 = nn.Conv2d(i, o, 3, stride, 1), nn.Conv2d(o, o, 3, padding=1)
                self.conv3 = nn.Conv2d(i, o, 1, stride) if down else None
                self.bn1, self.bn2 = nn.BatchNorm2d(o), nn.BatchNorm2d(o)

            def forward(self, x):
                y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
                return F.relu(y + (x if self.conv3 is None else self.conv3(x)))


        def stage(i, o, down=True):
            return nn.Sequential(Residual(i, o, down), Residual(o, o, False))


        net = nn.Sequential(
            nn.Conv2d(%d, 64, 7, 2, 3), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(3, 2, 1),
            stage(64, 64, False), stage(64, 128), stage(128, 256), stage(256, 512),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, %d))
        """
        .formatted(channels, classes);
  }
}
