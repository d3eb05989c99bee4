package dev.baton.worker.trainer;

import static org.assertj.core.api.Assertions.assertThat;

import dev.baton.v1.DaemonMessage;
import dev.baton.v1.Go;
import dev.baton.v1.JobSpec;
import dev.baton.v1.Run;
import dev.baton.v1.TrainerMessage;
import dev.baton.worker.process.TrainerEnvironment;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;
import java.util.function.Predicate;

/** A trainer's process and the socket to it, as its daemon has it. */
final class ChildTrainer implements AutoCloseable {
  private final Path attemptDir;
  private final Path log;
  private final Process process;
  private final SocketChannel channel;
  private final ChannelInput in;

  /**
   * Starts it.
   *
   * @param dir where its files are
   * @param name of its own folder there
   */
  ChildTrainer(Path dir, String name, Class<?> main, String... options) throws IOException {
    attemptDir = Files.createDirectory(dir.resolve(name));
    log = dir.resolve(name + ".log");
    Path socket = dir.resolve(name + ".sock");
    try (ServerSocketChannel server = ServerSocketChannel.open(StandardProtocolFamily.UNIX)) {
      server.bind(UnixDomainSocketAddress.of(socket));
      List<String> line = new ArrayList<>();
      line.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
      line.addAll(TrainerEnvironment.javaOptions());
      line.addAll(List.of(options));
      line.add("-cp");
      line.add(
          System.getProperty("surefire.test.class.path", System.getProperty("java.class.path")));
      line.add(main.getName());
      line.add(socket.toString());
      ProcessBuilder builder =
          new ProcessBuilder(line).redirectErrorStream(true).redirectOutput(log.toFile());
      builder.environment().putAll(TrainerEnvironment.variables(1));
      process = builder.start();
      channel = server.accept();
    }
    in = new ChannelInput(channel);
  }

  /** Sends Run; Prepared or TrainerFailed. */
  TrainerMessage prepare(JobSpec spec, String checkpoint) throws IOException {
    assertThat(await(TrainerMessage::hasReady).getReady().getKind()).isNotEmpty();
    send(m -> m.setRun(run(spec, checkpoint)));
    return await(m -> m.hasPrepared() || m.hasFailed());
  }

  Run run(JobSpec spec, String checkpoint) {
    return Run.newBuilder()
        .setJobId("job")
        .setSpec(spec)
        .setSpecDigest("d")
        .setCheckpointFile(checkpoint)
        .setAttemptDir(attemptDir.toString())
        .setDecodedDir(attemptDir.toString())
        .setDevice("cpu")
        .build();
  }

  void go(long forNanos) throws IOException {
    send(m -> m.setGo(Go.newBuilder().setDeadlineNanos(System.nanoTime() + forNanos)));
  }

  void send(Consumer<DaemonMessage.Builder> fill) throws IOException {
    DaemonMessage.Builder message = DaemonMessage.newBuilder();
    fill.accept(message);
    ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    message.build().writeDelimitedTo(bytes);
    ByteBuffer buffer = ByteBuffer.wrap(bytes.toByteArray());
    while (buffer.hasRemaining()) {
      channel.write(buffer);
    }
  }

  /** The next message that is wanted; those before it are dropped. */
  TrainerMessage await(Predicate<TrainerMessage> wanted) throws IOException {
    TrainerMessage message;
    while ((message = TrainerMessage.parseDelimitedFrom(in)) != null) {
      if (wanted.test(message)) {
        return message;
      }
    }
    throw new AssertionError("the trainer ended: " + log());
  }

  /** The daemon's end. */
  void disconnect() throws IOException {
    channel.close();
  }

  /** SIGKILL. */
  void kill() throws InterruptedException {
    process.destroyForcibly().waitFor();
  }

  /** SIGSTOP. */
  void freeze() throws IOException, InterruptedException {
    new ProcessBuilder("kill", "-STOP", Long.toString(process.pid())).start().waitFor();
  }

  int exitCode() throws InterruptedException {
    assertThat(process.waitFor(20, TimeUnit.SECONDS)).isTrue();
    return process.exitValue();
  }

  String log() throws IOException {
    return Files.readString(log);
  }

  @Override
  public void close() throws IOException, InterruptedException {
    channel.close();
    process.destroyForcibly().waitFor();
  }
}
