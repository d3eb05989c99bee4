package dev.baton.worker.trainer;

import dev.baton.v1.DaemonMessage;
import dev.baton.v1.Ready;
import dev.baton.v1.Run;
import dev.baton.v1.TrainerMessage;
import dev.baton.worker.trainer.torch.TorchEngines;
import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.concurrent.CompletableFuture;
import java.util.function.Supplier;

/**
 * The trainer process: runs one rank of one attempt for the daemon whose socket it is given, so
 * that a native crash takes nothing else down. Its standard output is the job's log.
 *
 * <p>Exit codes: 0 after Finished, TrainerFailed or a stop; 1 for what nobody foresaw, with the
 * trace in the log; 4 where the daemon is gone (3 is the JVM's own, out of memory).
 */
public final class TrainerMain {
  private static final int DONE = 0;
  private static final int DEFECT = 1;
  private static final int DAEMON_GONE = 4;

  private record Job(Run run, TrainingControl control) {}

  private final DaemonLink link;
  private final PrintStream out;
  private final CompletableFuture<Job> job = new CompletableFuture<>();

  private TrainerMain(DaemonLink link, PrintStream out) {
    this.link = link;
    this.out = out;
  }

  /** The process. */
  public static void main(String[] args) {
    main(args, TorchEngines::load, JobData::open, true);
  }

  /** The same with other engines and other data; never returns. */
  static void main(String[] args, Supplier<EngineFactory> engines, Trainer.DataOpener data) {
    main(args, engines, data, false);
  }

  private static void main(
      String[] args, Supplier<EngineFactory> engines, Trainer.DataOpener data, boolean warmsUp) {
    PrintStream out =
        new PrintStream(new FileOutputStream(FileDescriptor.out), true, StandardCharsets.UTF_8);
    System.setOut(out);
    int code = DEFECT;
    try {
      if (args.length != 1) {
        throw new IllegalArgumentException("the one argument is the path of the daemon's socket");
      }
      new TrainerMain(DaemonLink.connect(Path.of(args[0])), out).attend(engines, data, warmsUp);
      code = DONE;
    } catch (Throwable e) {
      e.printStackTrace(out);
    }
    exit(out, code);
  }

  private void attend(Supplier<EngineFactory> engines, Trainer.DataOpener data, boolean warmsUp)
      throws InterruptedException {
    Thread reader = new Thread(this::listen, "daemon-link");
    reader.setDaemon(true);
    reader.start();
    EngineFactory factory = engines.get();
    link.send(
        TrainerMessage.newBuilder()
            .setReady(
                Ready.newBuilder()
                    .setLibtorch(factory.libtorch())
                    .setKind(factory.kind(device()))
                    .setReplicas(factory.hasReplicas()))
            .build());
    if (warmsUp) {
      warmUp(factory, data);
    }
    Job received = job.join();
    TrainingRun.Time time = new TrainingRun.Time(System::nanoTime, System::currentTimeMillis);
    new Trainer(factory, data, link::send, out, time).run(received.run(), received.control());
  }

  private void warmUp(EngineFactory factory, Trainer.DataOpener data) throws InterruptedException {
    try {
      WarmUp.run(factory, data, job, message -> {});
    } catch (IOException e) {
      // A full disk, perhaps: the job says so, if it needs room too.
    }
  }

  /** The daemon says what a trainer may see before libtorch is loaded. */
  private static String device() {
    String gpus = System.getenv("CUDA_VISIBLE_DEVICES");
    return gpus == null || gpus.isEmpty() ? "cpu" : "cuda";
  }

  /** The reader thread. Whatever ends it ends the process, and at once: nothing is committed. */
  private void listen() {
    int code = DAEMON_GONE;
    try {
      DaemonMessage message;
      while ((message = link.receive()) != null) {
        switch (message.getMessageCase()) {
          case RUN -> {
            Run run = message.getRun();
            job.complete(new Job(run, Trainer.control(run.getSpec())));
          }
          case GO -> control().go(message.getGo().getDeadlineNanos(), System.nanoTime());
          case DEADLINE -> control().deadline(message.getDeadline().getDeadlineNanos());
          case CHECKPOINT_NOW -> control().checkpointNow(message.getCheckpointNow().getStop());
          case CHECKPOINT_COMMITTED ->
              control().committed(message.getCheckpointCommitted().getStep(), System.nanoTime());
          case SNAPSHOT_GIVEN_UP ->
              control().givenUp(message.getSnapshotGivenUp().getStep(), System.nanoTime());
          case HALT -> exit(out, DONE);
          case JOIN_GROUP -> control().joinGroup(message.getJoinGroup());
          case GROUP_STANDS -> control().groupStands(message.getGroupStands());
          case MESSAGE_NOT_SET ->
              throw new IllegalStateException("the daemon sent a message of no known kind");
        }
      }
      out.println("the daemon is gone: this trainer halts");
    } catch (IOException e) {
      out.println("the daemon is gone: this trainer halts: " + e.getMessage());
    } catch (Throwable e) {
      code = DEFECT;
      e.printStackTrace(out);
    }
    exit(out, code);
  }

  private TrainingControl control() {
    Job received = job.getNow(null);
    if (received == null) {
      throw new IllegalStateException("the daemon sent an order before Run");
    }
    return received.control();
  }

  /** Halts: the native libraries' own exit handlers have nothing to save, and can hang. */
  private static void exit(PrintStream out, int code) {
    out.flush();
    Runtime.getRuntime().halt(code);
  }
}
