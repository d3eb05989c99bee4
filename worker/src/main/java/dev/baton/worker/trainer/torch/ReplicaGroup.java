package dev.baton.worker.trainer.torch;

import dev.baton.v1.AttemptOutcome;
import dev.baton.worker.trainer.Engine.Traffic;
import dev.baton.worker.trainer.GroupBrokenException;
import dev.baton.worker.trainer.Membership;
import dev.baton.worker.trainer.TrainingException;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.locks.LockSupport;
import java.util.function.IntConsumer;
import java.util.function.Supplier;
import java.util.regex.Pattern;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.javacpp.chrono.Milliseconds;
import org.bytedeco.pytorch.Backend;
import org.bytedeco.pytorch.BackendOptional;
import org.bytedeco.pytorch.BroadcastOptions;
import org.bytedeco.pytorch.Device;
import org.bytedeco.pytorch.DeviceGuardImplInterface;
import org.bytedeco.pytorch.GlooDeviceVector;
import org.bytedeco.pytorch.LongVector;
import org.bytedeco.pytorch.ProcessGroup;
import org.bytedeco.pytorch.ProcessGroupGloo;
import org.bytedeco.pytorch.ScalarTypeOptional;
import org.bytedeco.pytorch.Store;
import org.bytedeco.pytorch.Stream;
import org.bytedeco.pytorch.TCPStore;
import org.bytedeco.pytorch.TCPStoreOptions;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptions;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.Work;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.DeviceType;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.jspecify.annotations.Nullable;

/**
 * A group of replicas in c10d, and the collectives that training needs. Every rank calls the same
 * ones in the same order. Whatever goes wrong on the way to the others is a {@link
 * GroupBrokenException}, after the group's time-out at the latest; the group is of no use then, and
 * another one can be formed.
 *
 * <p>Tensors that are handed to a collective live where {@link #wire} makes them, and must not be
 * used for anything else until the group is closed, unless the collective has ended well: after an
 * {@link #abort} one that is under way still writes.
 */
final class ReplicaGroup implements AutoCloseable {
  /** How often a collective that waits looks whether it was told to end. */
  private static final long LOOK_MILLIS = 500;

  private static final long NCCL_LOOK_NANOS = 20_000;

  /** Of vectors that one rank sends another, which arrive in the order they are sent. */
  private static final int TAG = 0;

  /** As c10d's store says that it cannot listen at a port. */
  private static final Pattern PORT_TAKEN =
      Pattern.compile("EADDRINUSE|EACCES|address already in use", Pattern.CASE_INSENSITIVE);

  private static final Pattern LOST =
      Pattern.compile(
          "gloo|nccl|connection (closed|reset|refused)|timed out|pair closure|broken pipe|socket",
          Pattern.CASE_INSENSITIVE);

  private final int rank;
  private final int size;
  private final String name;
  private final boolean nccl;
  private final Duration longestSilence;
  private final TensorOptions wireOptions;
  private final boolean staged;
  private final Backend backend;
  private final ProcessGroup processGroup;
  private final Milliseconds look;
  private final Milliseconds timeout;
  private final Owned owned;

  /** The store that listens, on rank 0. */
  private final Owned server;

  private volatile boolean aborted;

  /** What the training thread waits for and an abort must end; under this object's lock. */
  private @Nullable Work waitedFor;

  private boolean broken;
  private boolean closed;
  private long nanos;
  private long bytesSent;

  /** A collective that was begun. To be awaited in the scope it was begun in. */
  final class Pending {
    private final String what;
    private final Work work;

    private Pending(String what, Work work) {
      this.what = what;
      this.work = work;
    }

    /** Returns once the result is there. */
    void await() {
      long begin = System.nanoTime();
      try {
        awaitResult();
      } finally {
        nanos += System.nanoTime() - begin;
      }
    }

    private void awaitResult() {
      while (nccl && !work.isCompleted()) {
        // Its own waiting is left to the device, and there ends with the time-out alone.
        requireWhole(what);
        LockSupport.parkNanos(NCCL_LOOK_NANOS);
      }
      if (nccl) {
        guarded(what, work::_wait);
        return;
      }
      while (true) {
        requireWhole(what);
        try {
          work._wait(look);
          return;
        } catch (RuntimeException e) {
          // Told apart from a look that has ended by itself.
          if (work.isCompleted()) {
            guarded(what, work::_wait);
            return;
          }
        }
      }
    }
  }

  /**
   * Everyone's vectors on their way to everyone, each sent to each other rank by itself. What
   * arrives before there is a place for it keeps Gloo's thread looking for one, on a processor that
   * this rank still computes with: so the places are there before the step is computed. To be
   * finished in the scope it was begun in.
   */
  final class Gathering {
    private final String what = name + ", gathering";
    private final Tensor everyones;
    private final List<Tensor> vectors;
    private final List<Work> received = new ArrayList<>();

    private Gathering(Tensor everyones, List<Tensor> vectors) {
      this.everyones = everyones;
      this.vectors = vectors;
      if (!nccl) {
        eachOther(
            other -> received.add(backend.recv(new TensorVector(vectors.get(other)), other, TAG)));
      }
    }

    /** Sends this rank's vector, and returns once all are here. */
    void finish() {
      long begin = System.nanoTime();
      Tensor mine = vectors.get(rank);
      if (nccl) {
        allGather(everyones, mine).await();
        return;
      }
      List<Work> sent = new ArrayList<>();
      eachOther(other -> sent.add(backend.send(new TensorVector(mine), other, TAG)));
      sent.forEach(work -> await(what, work));
      received.forEach(work -> await(what, work));
      bytesSent += mine.nbytes() * (size - 1);
      nanos += System.nanoTime() - begin;
    }

    private void eachOther(IntConsumer step) {
      requireWhole(what);
      guarded(
          what,
          () -> {
            for (int i = 1; i < size; i++) {
              step.accept((rank + i) % size);
            }
          });
    }
  }

  /** Waits for what is sent or received: a look at it that ends too soon would end the group. */
  private void await(String what, Work work) {
    synchronized (this) {
      requireWhole(what);
      waitedFor = work;
    }
    try {
      guarded(what, () -> work._wait(timeout));
    } finally {
      synchronized (this) {
        waitedFor = null;
      }
    }
    requireWhole(what);
  }

  private ReplicaGroup(
      Membership membership, Device device, IntConsumer listening, Owned owned, Owned server) {
    this.owned = owned;
    this.server = server;
    this.rank = membership.rank();
    this.size = membership.size();
    this.name = "rank " + rank + " of " + size;
    this.nccl = membership.backend() == Membership.Backend.NCCL;
    if (nccl && !device.is_cuda()) {
      throw new IllegalArgumentException("NCCL is for GPUs; this replica computes on a CPU");
    }
    this.staged = device.is_cuda() && !nccl;
    this.wireOptions = owned.keep(new TensorOptions(nccl ? device : new Device(DeviceType.CPU)));
    this.look = owned.keep(new Milliseconds(LOOK_MILLIS));
    this.longestSilence = membership.timeout();
    this.timeout = owned.keep(new Milliseconds(longestSilence.toMillis()));
    Milliseconds forming = new Milliseconds(membership.forming().toMillis());
    TCPStore connected = server.keep(store(membership, forming));
    if (rank == 0) {
      listening.accept(connected.getPort() & 0xFFFF);
    }
    // The bindings make a TCPStore that nobody counts the references to: freed, it would be written
    // to by the last collective that lets go of its group. Its clone is counted.
    Store store = owned.keep(connected.clone());
    this.backend =
        owned.keep(
            nccl
                ? NcclBackend.create(store, rank, size, timeout)
                : gloo(store, membership.address(), forming));
    // Reducer wants the group that dispatches by device.
    this.processGroup = owned.keep(new ProcessGroup(rank, size));
    ProcessGroup.BackendType type =
        nccl ? ProcessGroup.BackendType.NCCL : ProcessGroup.BackendType.GLOO;
    processGroup.setBackend(device.type(), type, new BackendOptional(backend));
    processGroup.setDefaultBackend(type);
    if (!nccl) {
      backend.setTimeout(timeout);
    }
  }

  /** Whether this build of libtorch has c10d's bindings; that for CUDA 12 has not. */
  static boolean isAvailable() {
    try (TCPStoreOptions options = new TCPStoreOptions();
        ProcessGroupGloo.Options gloo = new ProcessGroupGloo.Options()) {
      return !options.isNull() && !gloo.isNull();
    } catch (LinkageError e) {
      return false;
    }
  }

  /** On rank 0 at the first of its ports that is free. */
  private static TCPStore store(Membership membership, Milliseconds timeout) {
    for (int port = membership.storePort(); ; port++) {
      try {
        return store(membership, port, timeout);
      } catch (RuntimeException e) {
        if (membership.rank() != 0 || !PORT_TAKEN.matcher(TorchErrors.firstLine(e)).find()) {
          throw e;
        }
        if (port >= membership.lastPort()) {
          throw new TrainingException(
              AttemptOutcome.ATTEMPT_OUTCOME_WORKER_ERROR,
              "none of the ports %d to %d is free for replicas to meet at: start the worker with other --ports"
                  .formatted(membership.storePort(), membership.lastPort()),
              e);
        }
      }
    }
  }

  private static TCPStore store(Membership membership, int port, Milliseconds timeout) {
    TCPStoreOptions options = new TCPStoreOptions();
    options.port((short) port);
    options.isServer(membership.rank() == 0);
    options.waitWorkers(false);
    options.timeout(timeout);
    return new TCPStore(membership.storeHost(), options);
  }

  private ProcessGroupGloo gloo(Store store, String address, Milliseconds timeout) {
    ProcessGroupGloo.Options options = new ProcessGroupGloo.Options(timeout);
    options.devices(new GlooDeviceVector(ProcessGroupGloo.createDeviceForHostname(address)));
    return new ProcessGroupGloo(store, rank, size, options);
  }

  /**
   * Forms a group: returns when every rank is connected with every other.
   *
   * @param device that the replica computes on
   * @param listening told the store's port once rank 0 listens, on rank 0 alone
   * @throws GroupBrokenException where the others are not there in time
   */
  static ReplicaGroup form(Membership membership, Device device, IntConsumer listening) {
    String what = "rank " + membership.rank() + " of " + membership.size() + " forms the group";
    Owned owned = new Owned();
    Owned server = new Owned();
    try (PointerScope scope = new PointerScope()) {
      return new ReplicaGroup(membership, device, listening, owned, server);
    } catch (LinkageError e) {
      owned.close();
      server.close();
      throw new TrainingException(
          AttemptOutcome.ATTEMPT_OUTCOME_WORKER_ERROR,
          "this build of libtorch has no replicas: use that for CPUs or for CUDA 13",
          e);
    } catch (RuntimeException e) {
      owned.close();
      server.close();
      if (e.getClass() != RuntimeException.class) {
        throw e;
      }
      throw new GroupBrokenException(
          what
              + " at "
              + membership.storeHost()
              + ":"
              + membership.storePort()
              + ": "
              + TorchErrors.firstLine(e),
          e);
    }
  }

  /** The training thread's. */
  Traffic traffic() {
    return new Traffic(nanos, bytesSent);
  }

  /** Notes what was sent, and how long it was waited for, by collectives that others began. */
  void account(long sentBytes, long waitedNanos) {
    bytesSent += sentBytes;
    nanos += waitedNanos;
  }

  int rank() {
    return rank;
  }

  int size() {
    return size;
  }

  /**
   * Sets how long collectives that are begun from now on wait for another rank: no longer than was
   * said when the group was formed, as NCCL's do anyway. None may be under way.
   */
  void silentAtMost(Duration longest) {
    if (!nccl) {
      Duration allowed = longest.compareTo(longestSilence) < 0 ? longest : longestSilence;
      try (Milliseconds millis = new Milliseconds(allowed.toMillis())) {
        backend.setTimeout(millis);
      }
    }
  }

  /** For {@link org.bytedeco.pytorch.Reducer}. */
  ProcessGroup processGroup() {
    return processGroup;
  }

  /** Whether the device's tensors must be copied to a {@link #wire} tensor to be sent. */
  boolean staged() {
    return staged;
  }

  /** A tensor of that many elements, zeros, where collectives read and write; the scope's. */
  Tensor wire(long elements, ScalarType type) {
    Tensor tensor =
        torch.zeros(new long[] {elements}, wireOptions.dtype(new ScalarTypeOptional(type)));
    return staged ? tensor.pin_memory() : tensor;
  }

  /**
   * Begins to send each rank its split of {@code in} and to receive one from each into {@code out},
   * in rank order.
   *
   * @param out one-dimensional
   * @param outSplits elements that come from each rank; none: as many from each
   * @param inSplits elements that go to each rank; none: as many to each
   */
  Pending allToAll(Tensor out, Tensor in, LongVector outSplits, LongVector inSplits) {
    long own = inSplits.empty() ? in.numel() / size : inSplits.get(rank);
    bytesSent += (in.numel() - own) * in.element_size();
    return begin("all-to-all", () -> backend.alltoall_base(out, in, outSplits, inSplits));
  }

  /** Begins to put every rank's {@code in} into everyone's {@code out}, in rank order. */
  Pending allGather(Tensor out, Tensor in) {
    bytesSent += in.nbytes() * (size - 1);
    return begin("all-gather", () -> backend._allgather_base(out, in));
  }

  /**
   * Begins to complete everyone's vector, of which rank r has the r-th of equal chunks. Each chunk
   * is broadcast from its rank, where it lies: Gloo's all-gather would copy twice and allocate
   * anew.
   */
  List<Pending> allGatherInPlace(List<Tensor> chunks) {
    List<Pending> begun = new ArrayList<>();
    for (int root = 0; root < size; root++) {
      begun.add(broadcast(chunks.get(root), root));
    }
    return begun;
  }

  /**
   * Begins to receive everyone's vector.
   *
   * @param everyones the vectors, of equal length, in rank order
   * @param vectors views of each; this rank's own is to be written before the gathering is finished
   */
  Gathering gather(Tensor everyones, List<Tensor> vectors) {
    return new Gathering(everyones, vectors);
  }

  /** Begins c10d's own sum: not in an order that can be relied on. */
  Pending allReduce(Tensor tensor) {
    bytesSent += ringBytes(tensor.nbytes());
    return begin("all-reduce", () -> backend.allreduce(new TensorVector(tensor)));
  }

  /** What a rank sends in a ring's all-reduce of so many bytes. */
  long ringBytes(long bytes) {
    return 2 * bytes * (size - 1) / size;
  }

  /**
   * Begins to overwrite everyone's tensor with that of {@code root}, to which all that is sent is
   * counted, although others may pass it on.
   */
  Pending broadcast(Tensor tensor, int root) {
    bytesSent += rank == root ? tensor.nbytes() * (size - 1) : 0;
    BroadcastOptions options = new BroadcastOptions();
    options.rootRank(root);
    options.rootTensor(0);
    return begin("broadcast", () -> backend.broadcast(new TensorVector(tensor), options));
  }

  /** Returns once every rank has called it. */
  void barrier() {
    try (PointerScope scope = new PointerScope()) {
      begin("barrier", backend::barrier).await();
    }
  }

  /**
   * Returns once the device has done what is queued for it. NCCL's collectives that others began
   * are among that, and a device that waits for a lost peer cannot be told to end.
   *
   * @throws GroupBrokenException where the group is told to end before
   */
  void awaitDevice(Device device) {
    if (!nccl) {
      return;
    }
    DeviceGuardImplInterface queues = torch.getDeviceGuardImpl(DeviceType.CUDA);
    Stream queue = queues.getStream(device);
    while (!queues.queryStream(queue)) {
      requireWhole(name + ", all-reduce");
      LockSupport.parkNanos(NCCL_LOOK_NANOS);
    }
  }

  /** Any thread's: collectives that wait end soon, with the exception. */
  void abort() {
    aborted = true;
    synchronized (this) {
      if (waitedFor != null) {
        waitedFor.abort();
      }
    }
  }

  private Pending begin(String what, Supplier<Work> collective) {
    String where = name + ", " + what;
    requireWhole(where);
    try {
      return new Pending(where, collective.get());
    } catch (RuntimeException e) {
      throw broken(where, e);
    }
  }

  private void requireWhole(String what) {
    if (broken || aborted) {
      String why = broken ? "the group is broken" : "the group was told to end";
      throw broken(what, new IllegalStateException(why));
    }
  }

  private void guarded(String what, Runnable communication) {
    try {
      communication.run();
    } catch (RuntimeException e) {
      throw broken(what, e);
    }
  }

  private GroupBrokenException broken(String what, RuntimeException e) {
    broken = true;
    return e instanceof GroupBrokenException known
        ? known
        : new GroupBrokenException(what + ": " + TorchErrors.firstLine(e), e);
  }

  /**
   * What an exception of a computation that also communicates means: the break of the group, marked
   * as such, or the exception itself. By the messages of Gloo, NCCL and the kernel's sockets, since
   * there are no types to go by.
   */
  RuntimeException told(String what, RuntimeException e) {
    return e.getClass() == RuntimeException.class && LOST.matcher(TorchErrors.firstLine(e)).find()
        ? broken(name + ", " + what, e)
        : e;
  }

  /**
   * Ends the connections. After a break this should come soon: in a collective that goes round in a
   * ring it is what tells the ranks that have no connection with the lost one.
   */
  @Override
  public void close() {
    if (closed) {
      return;
    }
    closed = true;
    if (!broken && !aborted) {
      owned.close();
      server.close();
      return;
    }
    // c10d joins its threads, which may wait for a silent peer until the time-out. Nothing of them
    // needs the store, whose port may be the only one.
    server.close();
    Thread closer = new Thread(owned::close, "close-group");
    closer.setDaemon(true);
    closer.start();
  }
}
