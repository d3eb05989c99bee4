package dev.baton.worker.trainer.torch;

import java.util.ArrayList;
import java.util.List;
import java.util.function.IntFunction;
import org.bytedeco.pytorch.Device;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;

/**
 * What the variants of ResNet-18 share: a stem, four stages of two blocks, a head: {@code [n,
 * channels, h, w] → [n, classes]}. He et al., Deep Residual Learning for Image Recognition,
 * https://arxiv.org/abs/1512.03385.
 */
abstract class ResidualNet<B extends ResidualNet.Block> extends AbstractModel {
  private static final long[] THREE = {3, 3};
  private static final long[] TWO = {2, 2};
  private static final long[] ONE = {1, 1};

  final int channels;
  final int classes;
  final Layers.Conv2d stem;
  final List<B> blocks = new ArrayList<>();
  private final Layers.BatchNorm2d norm;
  private final Layers.Linear head;

  /** Two convolutions and a short cut around them. */
  interface Block {
    Tensor forward(Tensor x, boolean training);

    void addTo(List<StateTensor> state, String name);
  }

  /** Makes a block. */
  interface BlockMaker<B> {
    /**
     * Makes a block's layers.
     *
     * @param stride 2 where it halves height and width
     */
    B create(Layers layers, int in, int out, int stride);
  }

  /**
   * Names in the state dict.
   *
   * @param stage of a stage's blocks, by its number from 0
   */
  record Names(String stem, String norm, IntFunction<String> stage, String head) {}

  /**
   * @param bias whether the stem's convolution has one
   */
  ResidualNet(
      int channels, int classes, Device device, boolean bias, Names names, BlockMaker<B> maker) {
    this.channels = channels;
    this.classes = classes;
    Layers layers = layers(device);
    List<StateTensor> state = register();
    this.stem = layers.conv2d(channels, 64, 7, 2, 3, bias);
    stem.addTo(state, names.stem());
    this.norm = layers.batchNorm2d(64);
    norm.addTo(state, names.norm());
    int in = 64;
    for (int stage = 0; stage < 4; stage++) {
      int out = 64 << stage;
      for (int number = 0; number < 2; number++) {
        B block = maker.create(layers, in, out, stage > 0 && number == 0 ? 2 : 1);
        block.addTo(state, names.stage().apply(stage) + "." + number);
        blocks.add(block);
        in = out;
      }
    }
    this.head = layers.linear(512, classes);
    head.addTo(state, names.head());
  }

  @Override
  public final Tensor forward(Tensor x) {
    x = torch.relu_(norm.forward(stem.forward(x), training()));
    x = torch.max_pool2d(x, THREE, TWO, ONE, ONE, false);
    for (B block : blocks) {
      x = block.forward(x, training());
    }
    return head.forward(torch.adaptive_avg_pool2d(x, ONE).flatten(1, -1));
  }

  @Override
  public final KernelChoice kernels() {
    return new KernelChoice(true, true);
  }

  @Override
  public final boolean normalisesOverBatch() {
    return true;
  }
}
