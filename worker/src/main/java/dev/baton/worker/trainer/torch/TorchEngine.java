package dev.baton.worker.trainer.torch;

import dev.baton.v1.JobSpec;
import dev.baton.v1.Loss;
import dev.baton.worker.data.Batch;
import dev.baton.worker.data.SampleFormat;
import dev.baton.worker.data.SampleSource;
import dev.baton.worker.trainer.Engine;
import dev.baton.worker.trainer.Seeds;
import dev.baton.worker.trainer.Seeds.Purpose;
import dev.baton.worker.trainer.TensorInfo;
import dev.baton.worker.trainer.TrainingException;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.function.LongSupplier;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Context;
import org.bytedeco.pytorch.Device;
import org.bytedeco.pytorch.IValue;
import org.bytedeco.pytorch.NoGradGuard;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptions;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.DeviceType;
import org.jspecify.annotations.Nullable;

/**
 * One replica of a job in libtorch; for now it runs all shards of every batch, one after the other.
 *
 * <p>With one shard a step is plain PyTorch's. With more, each shard runs forward and backward for
 * itself, from the step's first buffers and with its own random numbers, and leaves one list: its
 * gradients, then its floating-point buffers weighted by its share of the samples. {@link
 * ShardTree} adds the lists, and says why the order of additions never varies. A replica that runs
 * some of the shards feeds the other replicas' lists into the same tree.
 */
final class TorchEngine implements Engine {
  private final String kind;
  private final ForwardSeeds seeds;
  private final SampleFormat format;
  private final Model model;
  private final LossFunction loss;
  private final Inputs inputs;
  private final @Nullable Autocast autocast;
  private final CompiledFunctions functions;
  private final OptimizerStep optimizer;
  private final RunningSums sums;
  private final ShardBuffers buffers;
  private final Context context;
  private final Owned owned = new Owned();

  /** The model's, then the optimizer's. */
  private final List<StateTensor> state = new ArrayList<>();

  /**
   * Where each parameter's gradient lies. Reset once it is taken, so that the next backward pass
   * stores the new one there instead of adding to the old.
   */
  private final List<Tensor> gradientSlots = new ArrayList<>();

  private final CompiledFunctions.Call gradients;
  private final CompiledFunctions.Call add;
  private final CompiledFunctions.Call first;

  /** The generators' seed for a shard's forward pass. */
  interface ForwardSeeds {
    long of(long step, int shard);

    /** A job's. */
    static ForwardSeeds of(long seed) {
      return (step, shard) -> Seeds.mix32(seed, Purpose.FORWARD, step, shard);
    }
  }

  /**
   * @param initialisationSeed of the CPU's generator
   * @param autocast bfloat16 where that is customary, instead of float32 throughout
   * @param freeBytes of the device's memory, of which samples may take a part
   */
  TorchEngine(
      JobSpec spec,
      SampleFormat format,
      String kind,
      boolean cuda,
      long initialisationSeed,
      ForwardSeeds seeds,
      boolean autocast,
      LongSupplier freeBytes) {
    this.kind = kind;
    this.seeds = seeds;
    this.format = format;
    Loss lossKind = spec.getTraining().getLoss();
    this.loss = LossFunction.of(lossKind);
    BuiltinModels.checkTarget(lossKind, format);
    try (PointerScope scope = new PointerScope();
        NoGradGuard none = new NoGradGuard()) {
      this.context = owned.keep(torch.globalContext());
      Device device = owned.keep(new Device(cuda ? DeviceType.CUDA : DeviceType.CPU));
      this.autocast = autocast ? new Autocast(device) : null;
      torch.manual_seed(initialisationSeed);
      this.model = BuiltinModels.create(spec, format, device);
      this.functions = new CompiledFunctions();
      state.addAll(model.state());
      List<StateTensor> parameters = state.stream().filter(StateTensor::isParameter).toList();
      List<Tensor> tensors = parameters.stream().map(StateTensor::tensor).toList();
      this.optimizer = new OptimizerStep(spec.getTraining().getOptimizer(), parameters, functions);
      state.addAll(optimizer.state());
      this.buffers = new ShardBuffers(state, functions);
      tensors.forEach(tensor -> gradientSlots.add(tensor.mutable_grad()));
      this.gradients = functions.call("gradients", 1).set(0, functions.list(tensors));
      this.add = functions.call("add", 2);
      this.first = functions.call("first", 2).set(1, (long) tensors.size());
      int classes = loss == LossFunction.CROSS_ENTROPY ? BuiltinModels.classes(spec, format) : 0;
      this.sums = new RunningSums(classes, device);
      this.inputs =
          new Inputs(
              format,
              classes,
              spec.getData().getTransformsList(),
              model.kernels().channelsLast(),
              device,
              freeBytes);
    }
  }

  @Override
  public String kind() {
    return kind;
  }

  @Override
  public List<TensorInfo> layout() {
    try (PointerScope scope = new PointerScope()) {
      return state.stream().map(StateTensor::info).toList();
    }
  }

  @Override
  public void copyStateTo(List<ByteBuffer> target) {
    eachBlob(target, (tensor, blob) -> blob.copy_(tensor));
  }

  @Override
  public void restoreState(List<ByteBuffer> source) {
    eachBlob(source, (tensor, blob) -> tensor.copy_(blob));
  }

  private interface Copy {
    Tensor apply(Tensor tensor, Tensor blob);
  }

  private void eachBlob(List<ByteBuffer> memory, Copy copy) {
    if (memory.size() != state.size()) {
      throw new IllegalArgumentException(
          memory.size() + " buffers for a state of " + state.size() + " tensors");
    }
    try (PointerScope scope = new PointerScope();
        NoGradGuard none = new NoGradGuard()) {
      for (int i = 0; i < state.size(); i++) {
        TensorInfo info = state.get(i).info();
        ByteBuffer buffer = memory.get(i).duplicate().clear();
        if (buffer.capacity() < info.bytes()) {
          throw new IllegalArgumentException(
              "a buffer of " + buffer.capacity() + " bytes for " + info);
        }
        long[] sizes = info.shape().stream().mapToLong(Long::longValue).toArray();
        TensorOptions options = new TensorOptions(StateTensor.scalarType(info.dtype()));
        copy.apply(state.get(i).tensor(), Inputs.blob(buffer, sizes, options));
      }
    }
  }

  @Override
  public boolean hold(Use use, SampleSource source) {
    try (PointerScope scope = new PointerScope();
        NoGradGuard none = new NoGradGuard()) {
      return inputs.hold(use, source);
    } catch (RuntimeException e) {
      throw TorchErrors.classify("copying the data to the device", "all samples", e);
    }
  }

  @Override
  public void trainStep(Batch batch) {
    try (PointerScope scope = new PointerScope()) {
      useKernels();
      model.train(true);
      Tensor x = inputs.x(Use.TRAIN, batch);
      Tensor y = inputs.y(Use.TRAIN, batch);
      int[] bounds = batch.shardBounds();
      if (bounds.length == 2) {
        IValue gradients = runShard(batch, 0, x, y, batch.samples());
        try (NoGradGuard none = new NoGradGuard()) {
          optimizer.apply(gradients);
        }
      } else {
        runShards(batch, bounds, x, y);
      }
    } catch (RuntimeException e) {
      throw TorchErrors.classify("step " + batch.step(), shapes(batch), e);
    }
  }

  private void runShards(Batch batch, int[] bounds, Tensor x, Tensor y) {
    int shards = bounds.length - 1;
    ShardTree<IValue> tree = new ShardTree<>(shards, this::add);
    ShardBuffers.Step step = buffers.begin();
    for (int shard = 0; shard < shards; shard++) {
      int from = bounds[shard];
      int samples = bounds[shard + 1] - from;
      if (samples == 0) {
        tree.add(shard, shard + 1, null);
        continue;
      }
      step.rewind();
      IValue partial =
          runShard(batch, shard, x.narrow(0, from, samples), y.narrow(0, from, samples), samples);
      step.appendTo(partial, (double) samples / batch.samples());
      tree.add(shard, shard + 1, partial);
    }
    IValue total = tree.total();
    if (total != null) {
      try (NoGradGuard none = new NoGradGuard()) {
        optimizer.apply(first.set(0, total).apply());
      }
      first.clear(0);
      step.finish(total, gradientSlots.size());
    }
  }

  /** left += right, element by element; right is used up. */
  private IValue add(IValue left, IValue right) {
    add.set(0, left).set(1, right).apply();
    add.clear(0);
    add.clear(1);
    // Frees its tensors now, not at the end of the step.
    right.close();
    return left;
  }

  /**
   * Forward and backward.
   *
   * @return the gradients, a list in the parameters' order, in the scope that is open
   */
  private IValue runShard(Batch batch, int shard, Tensor x, Tensor y, int samples) {
    if (samples == 1 && model.normalisesOverBatch()) {
      throw TrainingException.userError(
          "step "
              + batch.step()
              + " trains a shard of one sample, which batch norm cannot normalise: choose another"
              + " training.batch_size, fewer replicas.shards, or data.train.drop_last: true");
    }
    torch.manual_seed(seeds.of(batch.step(), shard));
    Tensor shardLoss;
    // What the forward pass leaves for the backward pass, libtorch holds itself, and frees on the
    // way;
    // references of ours would keep all of it until the end of the step.
    try (PointerScope forward = new PointerScope()) {
      if (autocast != null) {
        autocast.enter();
      }
      Tensor outputs = model.forward(x);
      shardLoss = loss.ofShard(outputs, y, samples, batch.samples());
      if (autocast != null) {
        autocast.leave();
      }
      try (NoGradGuard none = new NoGradGuard()) {
        sums.addTrained(shardLoss, outputs, y, samples, batch.samples());
      }
      shardLoss.retainReference();
    }
    shardLoss.backward();
    shardLoss.close();
    IValue taken = gradients.apply();
    gradientSlots.forEach(Tensor::reset);
    return taken;
  }

  @Override
  public void evalBatch(Batch batch) {
    try (PointerScope scope = new PointerScope();
        NoGradGuard none = new NoGradGuard()) {
      useKernels();
      model.train(false);
      Tensor x = inputs.x(Use.EVAL, batch);
      Tensor y = inputs.y(Use.EVAL, batch);
      Tensor outputs = model.forward(x);
      sums.addEvaluated(loss.mean(outputs, y), outputs, y, batch.samples());
    } catch (RuntimeException e) {
      throw TorchErrors.classify("evaluation batch " + batch.step(), shapes(batch), e);
    }
  }

  /** The settings are the process's, which may hold several engines. */
  private void useKernels() {
    context.setUserEnabledMkldnn(model.kernels().oneDnn());
  }

  private String shapes(Batch batch) {
    return batch.samples() + " samples of shape " + format.inputShape();
  }

  @Override
  public Totals read(Sums which) {
    try (PointerScope scope = new PointerScope()) {
      return sums.read(which);
    }
  }

  @Override
  public void set(Sums which, Totals totals) {
    try (PointerScope scope = new PointerScope()) {
      sums.set(which, totals);
    }
  }

  @Override
  public double[][] evalByClass() {
    try (PointerScope scope = new PointerScope()) {
      return sums.byClass();
    }
  }

  @Override
  public String pythonModule() {
    return model.python();
  }

  @Override
  public void close() {
    inputs.close();
    sums.close();
    optimizer.close();
    functions.close();
    model.close();
    owned.close();
  }
}
