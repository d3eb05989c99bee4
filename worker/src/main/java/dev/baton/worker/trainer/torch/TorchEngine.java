package dev.baton.worker.trainer.torch;

import dev.baton.v1.JobSpec;
import dev.baton.v1.Loss;
import dev.baton.worker.data.Batch;
import dev.baton.worker.data.SampleFormat;
import dev.baton.worker.data.SampleSource;
import dev.baton.worker.data.ShardRange;
import dev.baton.worker.trainer.Engine;
import dev.baton.worker.trainer.GroupBrokenException;
import dev.baton.worker.trainer.Membership;
import dev.baton.worker.trainer.Seeds;
import dev.baton.worker.trainer.Seeds.Purpose;
import dev.baton.worker.trainer.TensorInfo;
import dev.baton.worker.trainer.TrainingException;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.function.IntConsumer;
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
 * One replica of a job in libtorch: alone it runs all shards of every batch, one after the other,
 * in a group some of them.
 *
 * <p>With one shard a step is plain PyTorch's. With more, each shard runs forward and backward for
 * itself, from the step's first buffers and with its own random numbers, and leaves one list: its
 * gradients, then its floating-point buffers weighted by its share of the samples. {@link
 * ShardTree} adds the lists, and says why the order of additions never varies; {@link ExactSum}
 * does so over the replicas of a group.
 *
 * <p>A step changes nothing before all that it needs of other replicas is here: parameters,
 * optimizer and sums come last, and buffers are put back where a replica is lost.
 */
final class TorchEngine implements Engine {
  /**
   * How long a member may be silent in fast mode at most; {@link OverlappedReducer} says how long
   * where steps are short.
   */
  private static final Duration FAST_SILENCE = Duration.ofSeconds(30);

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
  private final Device device;
  private final int shards;

  /** Whether a group may give up the same bits for speed. */
  private final boolean fast;

  private @Nullable Replication replication;

  /** The group that it is in, or that agrees on a state. */
  private volatile @Nullable ReplicaGroup group;

  /** Whether the group that it is in, or is about to be, was told to end. */
  private volatile boolean abandoned;

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
    this.shards = Math.max(1, spec.getReplicas().getShards());
    this.fast = spec.getTraining().hasExact() && !spec.getTraining().getExact();
    try (PointerScope scope = new PointerScope();
        NoGradGuard none = new NoGradGuard()) {
      this.context = owned.keep(torch.globalContext());
      this.device = owned.keep(new Device(cuda ? DeviceType.CUDA : DeviceType.CPU));
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
  public Standing join(Membership wanted, Standing mine, IntConsumer listening) {
    if (replication != null) {
      leave();
    }
    if (wanted.size() == 1) {
      StateTransfer.requireWhole(mine.position(), 1);
      return mine;
    }
    if (wanted.size() > shards) {
      throw new IllegalArgumentException(wanted.size() + " replicas for " + shards + " shards");
    }
    Membership membership = fast ? wanted.silentAtMost(FAST_SILENCE) : wanted;
    ReplicaGroup formed = ReplicaGroup.form(membership, device, listening);
    boolean joined = false;
    try (PointerScope scope = new PointerScope();
        NoGradGuard none = new NoGradGuard()) {
      group = formed;
      if (abandoned) {
        formed.abort();
      }
      long job = 31L * (31L * layout().toString().hashCode() + shards) + (fast ? 1 : 0);
      Standing agreed = new StateTransfer(formed, state, sums).agree(mine, job);
      replication =
          new Replication(
              formed,
              shards,
              fast,
              parameters(),
              buffers,
              sums.packedEvaluated(),
              device,
              functions);
      joined = true;
      return agreed;
    } finally {
      if (!joined) {
        group = null;
        formed.close();
      }
    }
  }

  private List<Tensor> parameters() {
    return state.stream().filter(StateTensor::isParameter).map(StateTensor::tensor).toList();
  }

  @Override
  public void leave() {
    Replication left = replication;
    replication = null;
    group = null;
    abandoned = false;
    if (left != null) {
      left.close();
    }
  }

  @Override
  public void abandonGroup() {
    abandoned = true;
    ReplicaGroup told = group;
    if (told != null) {
      told.abort();
    }
  }

  @Override
  public Traffic traffic() {
    ReplicaGroup current = group;
    return current == null ? Traffic.NONE : current.traffic();
  }

  @Override
  public void trainStep(Batch batch) {
    Replication group = replication;
    try (PointerScope scope = new PointerScope()) {
      useKernels();
      model.train(true);
      int[] parts = parts(batch, group);
      Tensor x = batch.samples() == 0 ? new Tensor() : inputs.x(Use.TRAIN, batch);
      Tensor y = batch.samples() == 0 ? new Tensor() : inputs.y(Use.TRAIN, batch);
      OverlappedReducer reducer = group == null ? null : group.reducer(parts);
      if (group != null && reducer != null) {
        trainOverlapped(batch, parts, group, reducer, x, y);
      } else if (parts.length == 2) {
        IValue gradients = runShard(batch, 0, x, y, batch.samples(), batch.samples(), null);
        try (NoGradGuard none = new NoGradGuard()) {
          optimizer.apply(gradients);
        }
      } else {
        runShards(batch, parts, group, x, y);
      }
    } catch (GroupBrokenException e) {
      leave();
      throw e;
    } catch (RuntimeException e) {
      throw TorchErrors.classify("step " + batch.step(), shapes(batch), e);
    }
  }

  /** Bounds of the batch's parts, each of which can be trained. */
  private int[] parts(Batch batch, @Nullable Replication group) {
    int[] parts = batch.shardBounds();
    if (group != null) {
      group.check(batch.held());
      parts = group.parts(parts);
    } else if (!batch.held().equals(ShardRange.all(parts.length - 1))) {
      throw new IllegalStateException("one replica alone got shards " + batch.held());
    }
    for (int part = 0; part < parts.length - 1; part++) {
      if (parts[part + 1] - parts[part] == 1 && model.normalisesOverBatch()) {
        throw TrainingException.userError(
            "step "
                + batch.step()
                + " trains a shard of one sample, which batch norm cannot normalise: choose"
                + " another training.batch_size, fewer replicas.shards, or data.train.drop_last:"
                + " true");
      }
    }
    return parts;
  }

  private void runShards(
      Batch batch, int[] bounds, @Nullable Replication group, Tensor x, Tensor y) {
    int shards = bounds.length - 1;
    int all = bounds[shards];
    ShardRange mine = group == null ? ShardRange.all(shards) : group.mine();
    if (group != null) {
      group.begin();
    }
    ShardTree<IValue> tree = new ShardTree<>(shards, this::add);
    ShardBuffers.Step step = buffers.begin();
    for (int shard = mine.from(); shard < mine.to(); shard++) {
      int from = bounds[shard] - bounds[mine.from()];
      int samples = bounds[shard + 1] - bounds[shard];
      if (samples == 0) {
        tree.add(shard, shard + 1, null);
        continue;
      }
      step.rewind();
      StepReports.Part report = group == null ? null : group.reports().part(shard - mine.from());
      IValue partial =
          runShard(
              batch,
              shard,
              x.narrow(0, from, samples),
              y.narrow(0, from, samples),
              samples,
              all,
              report);
      step.appendTo(partial, (double) samples / all);
      tree.add(shard, shard + 1, partial);
    }
    IValue total;
    IValue integers;
    if (group == null) {
      total = tree.total();
      integers = step.integersOfFirstShard();
    } else {
      total = exchange(batch, bounds, group, tree, step);
      integers = group.reports().integersOfRank0();
    }
    if (total != null) {
      try (NoGradGuard none = new NoGradGuard()) {
        optimizer.apply(first.set(0, total).apply());
      }
      first.clear(0);
      step.finish(total, gradientSlots.size(), integers);
    }
  }

  /** What this replica's shards left, added to that of all others. */
  private IValue exchange(
      Batch batch,
      int[] bounds,
      Replication group,
      ShardTree<IValue> tree,
      ShardBuffers.Step step) {
    IValue total;
    try (NoGradGuard none = new NoGradGuard()) {
      try {
        total = group.sum(batch.step(), step.integersOfFirstShard(), tree.partials(), bounds);
      } catch (GroupBrokenException e) {
        step.rewind();
        throw e;
      }
      group.reports().addTo(sums, bounds, batch.step());
    }
    return total;
  }

  /** A step whose gradients are averaged while the backward pass runs. */
  private void trainOverlapped(
      Batch batch, int[] parts, Replication group, OverlappedReducer reducer, Tensor x, Tensor y) {
    ShardBuffers.Step step = buffers.begin();
    int part = group.mine().from();
    int all = parts[parts.length - 1];
    Tensor partLoss = null;
    try {
      reducer.beforeForward();
      partLoss = forward(batch, part, x, y, batch.samples(), all, reducer.part());
      ReplicaGroup.Pending sent;
      try (NoGradGuard none = new NoGradGuard()) {
        sent = group.broadcastBuffers();
      }
      reducer.backward(partLoss);
      if (sent != null) {
        sent.await();
      }
      group.group().awaitDevice(device);
      reducer.stepDone();
    } catch (RuntimeException e) {
      gradientSlots.forEach(Tensor::reset);
      reducer.forget();
      RuntimeException told = group.group().told("backward pass", e);
      if (told instanceof GroupBrokenException) {
        try (NoGradGuard none = new NoGradGuard()) {
          step.rewind();
        }
      }
      throw told;
    } finally {
      if (partLoss != null) {
        partLoss.close();
      }
    }
    try (NoGradGuard none = new NoGradGuard()) {
      optimizer.apply(gradients.apply());
      gradientSlots.forEach(Tensor::reset);
      group.writeBuffers(step);
      reducer.addTo(sums, all);
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
  private IValue runShard(
      Batch batch,
      int shard,
      Tensor x,
      Tensor y,
      int samples,
      int all,
      StepReports.@Nullable Part report) {
    Tensor shardLoss = forward(batch, shard, x, y, samples, all, report);
    shardLoss.backward();
    shardLoss.close();
    IValue taken = gradients.apply();
    gradientSlots.forEach(Tensor::reset);
    return taken;
  }

  /**
   * A shard's part of the batch's mean loss.
   *
   * @param all samples of the global batch
   * @param report where loss and correct answers are noted; null: they are added to the sums
   */
  private Tensor forward(
      Batch batch,
      int shard,
      Tensor x,
      Tensor y,
      int samples,
      int all,
      StepReports.@Nullable Part report) {
    torch.manual_seed(seeds.of(batch.step(), shard));
    Tensor shardLoss;
    // What the forward pass leaves for the backward pass, libtorch holds itself, and frees on the
    // way; references of ours would keep all of it until the end of the step.
    try (PointerScope forward = new PointerScope()) {
      Tensor outputs;
      try (Autocast.Region region = Autocast.enter(autocast)) {
        outputs = model.forward(x);
        shardLoss = loss.ofShard(outputs, y, samples, all);
      }
      try (NoGradGuard none = new NoGradGuard()) {
        if (report == null) {
          sums.addTrained(shardLoss, outputs, y, samples, all);
        } else {
          report.note(shardLoss, sums.trainedCorrect(outputs, y));
        }
      }
      shardLoss.retainReference();
    }
    return shardLoss;
  }

  @Override
  public void evalBatch(Batch batch) {
    Replication group = replication;
    try (PointerScope scope = new PointerScope();
        NoGradGuard none = new NoGradGuard()) {
      useKernels();
      model.train(false);
      Tensor packed = group == null ? null : group.evaluated();
      if (batch.samples() > 0) {
        Tensor x = inputs.x(Use.EVAL, batch);
        Tensor y = inputs.y(Use.EVAL, batch);
        Tensor outputs = model.forward(x);
        if (packed == null) {
          sums.addEvaluated(loss.mean(outputs, y), outputs, y, batch.samples());
        } else {
          sums.packEvaluated(packed, loss.mean(outputs, y), outputs, y, batch.samples());
        }
      }
      if (group != null) {
        group.addEvaluated(sums);
      }
    } catch (GroupBrokenException e) {
      leave();
      throw e;
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
    leave();
    inputs.close();
    sums.close();
    optimizer.close();
    functions.close();
    model.close();
    owned.close();
  }
}
