package dev.baton.coordinator;

import static org.assertj.core.api.Assertions.assertThat;

import dev.baton.coordinator.config.DataDir;
import dev.baton.rpc.Channels;
import dev.baton.v1.JobServiceGrpc;
import dev.baton.v1.ListJobsRequest;
import dev.baton.v1.SubmitJobRequest;
import dev.baton.v1.SubmitJobResponse;
import io.grpc.ManagedChannel;
import io.grpc.stub.StreamObserver;
import java.io.BufferedReader;
import java.io.IOException;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Set;
import java.util.UUID;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.TimeUnit;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.awaitility.Awaitility;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The program, as a process of its own. */
final class MainTest {
  @TempDir Path temp;
  private final List<Process> processes = new ArrayList<>();

  @AfterEach
  void kill() throws Exception {
    for (Process process : processes) {
      process.destroyForcibly().waitFor();
    }
  }

  private Process start(String... args) throws IOException {
    var command =
        new ArrayList<>(
            List.of(
                Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                "-XX:+UseSerialGC",
                "-XX:TieredStopAtLevel=1",
                "-cp",
                System.getProperty("java.class.path"),
                "dev.baton.coordinator.Main",
                "coordinator"));
    command.addAll(Arrays.asList(args));
    Process process =
        new ProcessBuilder(command)
            .redirectError(Files.createTempFile(temp, "stderr", "").toFile())
            .start();
    processes.add(process);
    return process;
  }

  private Process serve(Path dataDir) throws IOException {
    return start(
        "--data-dir",
        dataDir.toString(),
        "--listen",
        "127.0.0.1:0",
        "--http",
        "127.0.0.1:0",
        "--objects",
        "127.0.0.1:0");
  }

  private static String address(BufferedReader out) throws IOException {
    String line = out.readLine();
    Matcher ready =
        Pattern.compile("ready grpc=(127\\.0\\.0\\.1:\\d+) http=127\\.0\\.0\\.1:\\d+")
            .matcher(String.valueOf(line));
    assertThat(ready.matches()).as(line).isTrue();
    return ready.group(1);
  }

  private static SubmitJobRequest request(String id) {
    return SubmitJobRequest.newBuilder().setRequestId(id).setSpec(CoordinatorTest.spec()).build();
  }

  private static String token(Path dir) throws IOException {
    return Files.readString(dir.resolve("admin.token")).strip();
  }

  @Test
  void killedWhileJobsComeInItHasEveryAcknowledgedOne() throws Exception {
    Path dir = temp.resolve("data");
    Process first = serve(dir);
    ManagedChannel channel =
        Channels.open(address(first.inputReader(StandardCharsets.UTF_8)), token(dir));
    var acknowledged = ConcurrentHashMap.<String>newKeySet();
    var calls = JobServiceGrpc.newStub(channel);
    for (int i = 0; i < 16; i++) {
      submitForEver(calls, acknowledged);
    }
    Awaitility.await().atMost(60, TimeUnit.SECONDS).until(() -> acknowledged.size() > 500);
    // In the midst of a group, most likely: there is always one.
    first.destroyForcibly().waitFor();
    channel.shutdownNow();

    Process second = serve(dir);
    channel = Channels.open(address(second.inputReader(StandardCharsets.UTF_8)), token(dir));
    try {
      var jobs = JobServiceGrpc.newBlockingStub(channel);
      int before =
          jobs.listJobs(ListJobsRequest.newBuilder().setLimit(1_000).build()).getJobsCount();
      for (String requestId : acknowledged) {
        var unused = jobs.submitJob(request(requestId));
      }
      int after =
          jobs.listJobs(ListJobsRequest.newBuilder().setLimit(1_000).build()).getJobsCount();
      assertThat(after).as("no acknowledged submission made a second job").isEqualTo(before);
    } finally {
      channel.shutdownNow();
    }
    second.destroy();
    assertThat(second.waitFor(5, TimeUnit.SECONDS)).as("ends within 5 s of SIGTERM").isTrue();
  }

  private static void submitForEver(JobServiceGrpc.JobServiceStub calls, Set<String> acknowledged) {
    String id = UUID.randomUUID().toString();
    calls.submitJob(
        request(id),
        new StreamObserver<SubmitJobResponse>() {
          @Override
          public void onNext(SubmitJobResponse response) {
            acknowledged.add(id);
          }

          @Override
          public void onError(Throwable t) {}

          @Override
          public void onCompleted() {
            if (acknowledged.size() < 900) {
              submitForEver(calls, acknowledged);
            }
          }
        });
  }

  private void assertRefused(String line, String... args) throws Exception {
    Process process = start(args);
    assertThat(process.waitFor(60, TimeUnit.SECONDS)).isTrue();
    assertThat(process.exitValue()).isEqualTo(2);
    assertThat(process.inputReader(StandardCharsets.UTF_8).lines()).isEmpty();
    Path stderr;
    try (var files = Files.list(temp)) {
      stderr =
          files
              .filter(file -> file.getFileName().toString().startsWith("stderr"))
              .findFirst()
              .orElseThrow();
    }
    assertThat(Files.readAllLines(stderr)).singleElement().asString().contains(line);
    Files.delete(stderr);
  }

  @Test
  void whatCannotWorkIsRefusedInOneLine() throws Exception {
    Path dir = temp.resolve("data");
    assertRefused("--data-dir");
    assertRefused(
        "--tls and --insecure exclude each other",
        "--data-dir",
        dir.toString(),
        "--tls",
        "--insecure");
    assertRefused("belong together", "--data-dir", dir.toString(), "--tls-key", "key.pem");
    String none = temp.resolve("none.pem").toString();
    assertRefused(
        none + ": cannot be read: no such file",
        "--data-dir",
        dir.toString(),
        "--tls-cert",
        none,
        "--tls-key",
        none);
    assertRefused("--advertise a/b", "--data-dir", dir.toString(), "--advertise", "a/b");
    assertRefused("expected HOST:PORT", "--data-dir", dir.toString(), "--http", "7071");
    assertRefused(
        "is not a folder", "--data-dir", dir.toString(), "--releases", dir.resolve("x").toString());
    assertRefused("--lisen", "--data-dir", dir.toString(), "--lisen", "127.0.0.1:0");
    Path config = Files.writeString(temp.resolve("bad.yaml"), "objets: {}\n");
    assertRefused(
        "did you mean 'objects'?", "--data-dir", dir.toString(), "--config", config.toString());
    try (DataDir held = DataDir.open(dir)) {
      assertThat(held.path()).isEqualTo(dir);
      assertRefused("another coordinator works on it", "--data-dir", dir.toString());
    }
    try (var taken = new ServerSocket(0, 1, InetAddress.getLoopbackAddress())) {
      String address = "127.0.0.1:" + taken.getLocalPort();
      String any = "127.0.0.1:0";
      String[] flags = {"--listen", "--http", "--objects"};
      for (String flag : flags) {
        var args = new ArrayList<>(List.of("--data-dir", dir.toString()));
        for (String each : flags) {
          args.add(each);
          args.add(each.equals(flag) ? address : any);
        }
        assertRefused(address, args.toArray(String[]::new));
      }
    }
  }
}
