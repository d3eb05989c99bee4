package dev.baton.worker.trainer.torch;

import java.util.List;
import org.bytedeco.pytorch.Device;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.jspecify.annotations.Nullable;

/**
 * ResNet-18 with torchvision's layout, names and initialisation: {@code [n, channels, h, w] → [n,
 * classes]}. https://github.com/pytorch/vision/blob/main/torchvision/models/resnet.py
 */
final class ResNet18 extends ResidualNet<ResNet18.BasicBlock> {
  private record Downsample(Layers.Conv2d conv, Layers.BatchNorm2d norm) {}

  record BasicBlock(
      Layers.Conv2d conv1,
      Layers.BatchNorm2d bn1,
      Layers.Conv2d conv2,
      Layers.BatchNorm2d bn2,
      @Nullable Downsample downsample)
      implements Block {

    static BasicBlock create(Layers layers, int in, int out, int stride) {
      // torchvision makes the short cut before the block that it belongs to.
      Downsample downsample =
          stride == 1 && in == out
              ? null
              : new Downsample(
                  layers.conv2d(in, out, 1, stride, 0, false), layers.batchNorm2d(out));
      return new BasicBlock(
          layers.conv2d(in, out, 3, stride, 1, false),
          layers.batchNorm2d(out),
          layers.conv2d(out, out, 3, 1, 1, false),
          layers.batchNorm2d(out),
          downsample);
    }

    /** torchvision's second pass over the modules. */
    void kaimingNormal() {
      conv1.kaimingNormal();
      conv2.kaimingNormal();
      if (downsample != null) {
        downsample.conv.kaimingNormal();
      }
    }

    @Override
    public Tensor forward(Tensor x, boolean training) {
      Tensor y = torch.relu_(bn1.forward(conv1.forward(x), training));
      y = bn2.forward(conv2.forward(y), training);
      Tensor identity =
          downsample == null ? x : downsample.norm.forward(downsample.conv.forward(x), training);
      return torch.relu_(y.add_(identity));
    }

    @Override
    public void addTo(List<StateTensor> state, String name) {
      conv1.addTo(state, name + ".conv1");
      bn1.addTo(state, name + ".bn1");
      conv2.addTo(state, name + ".conv2");
      bn2.addTo(state, name + ".bn2");
      if (downsample != null) {
        downsample.conv.addTo(state, name + ".downsample.0");
        downsample.norm.addTo(state, name + ".downsample.1");
      }
    }
  }

  ResNet18(int channels, int classes, Device device) {
    super(
        channels,
        classes,
        device,
        false,
        new Names("conv1", "bn1", stage -> "layer" + (stage + 1), "fc"),
        BasicBlock::create);
    stem.kaimingNormal();
    blocks.forEach(BasicBlock::kaimingNormal);
  }

  @Override
  public String python() {
    return """
        import torch.nn.functional as F
        from torch import nn


        class BasicBlock(nn.Module):
            def __init__(self, i, o, stride):
                super().__init__()
                self.conv1, self.bn1 = nn.Conv2d(i, o, 3, stride, 1, bias=False), nn.BatchNorm2d(o)
                self.conv2, self.bn2 = nn.Conv2d(o, o, 3, 1, 1, bias=False), nn.BatchNorm2d(o)
                shortcut = [nn.Conv2d(i, o, 1, stride, bias=False), nn.BatchNorm2d(o)] if stride > 1 else []
                self.downsample = nn.Sequential(*shortcut)

            def forward(self, x):
                y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
                return F.relu(y + self.downsample(x))


        class ResNet18(nn.Module):
            def __init__(self, channels, classes):
                super().__init__()
                self.conv1, self.bn1 = nn.Conv2d(channels, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64)
                for n, (i, o, stride) in enumerate([(64, 64, 1), (64, 128, 2), (128, 256, 2), (256, 512, 2)], 1):
                    setattr(self, f"layer{n}", nn.Sequential(BasicBlock(i, o, stride), BasicBlock(o, o, 1)))
                self.fc = nn.Linear(512, classes)

            def forward(self, x):
                x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 3, 2, 1)
                x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
                return self.fc(F.adaptive_avg_pool2d(x, 1).flatten(1))


        net = ResNet18(%d, %d)
        """
        .formatted(channels, classes);
  }
}
