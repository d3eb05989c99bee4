package dev.baton.deploy;

import java.io.IOException;
import java.net.URISyntaxException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;

/**
 * A machine whose systemd runs: namespaces over a copy on write of this one's files, with the name
 * {@code train.example.org} in a network that reaches nowhere ({@code boot-systemd}). Needs root.
 */
final class SystemdMachine implements AutoCloseable {
  private static final long BOOT_SECONDS = 60;
  private static final long LIMIT_SECONDS = 300;

  private final Path dir;
  private final Process process;
  private int scripts;

  /**
   * Boots it.
   *
   * @param dir a folder of its own, not in memory
   */
  SystemdMachine(Path dir) throws IOException, InterruptedException {
    this.dir = Files.createDirectories(dir);
    process =
        new ProcessBuilder(
                resource().toString(), dir.toString(), LocalCluster.root().toRealPath().toString())
            .redirectErrorStream(true)
            .redirectOutput(dir.resolve("boot.log").toFile())
            .start();
    try {
      long end = System.nanoTime() + TimeUnit.SECONDS.toNanos(BOOT_SECONDS);
      while (!running()) {
        if (!process.isAlive() || System.nanoTime() > end) {
          throw new IOException(
              "systemd does not boot: " + Files.readString(dir.resolve("boot.log")));
        }
        Thread.sleep(100);
      }
    } catch (IOException | InterruptedException e) {
      close();
      throw e;
    }
  }

  /** Whether this machine and this user can boot one. */
  static boolean possible() throws IOException, InterruptedException {
    return System.getProperty("user.name").equals("root")
        && Files.isExecutable(Path.of("/lib/systemd/systemd"))
        && new ProcessBuilder("unshare", "--pid", "--mount", "--net", "--cgroup", "--fork", "true")
                .redirectErrorStream(true)
                .redirectOutput(ProcessBuilder.Redirect.DISCARD)
                .start()
                .waitFor()
            == 0;
  }

  private static Path resource() {
    try {
      Path script = Path.of(SystemdMachine.class.getResource("boot-systemd").toURI());
      if (!script.toFile().setExecutable(true)) {
        throw new IllegalStateException(script + " cannot be made executable");
      }
      return script;
    } catch (URISyntaxException e) {
      throw new IllegalStateException(e);
    }
  }

  private boolean running() throws IOException, InterruptedException {
    if (!Files.exists(dir.resolve("pid"))) {
      return false;
    }
    String state = run("systemctl is-system-running || true").out().strip();
    return state.equals("running") || state.equals("degraded");
  }

  /** A folder that is {@code /srv} inside. */
  Path srv() {
    return dir.resolve("shared");
  }

  /** A file that was made or changed inside, also after the machine was switched off. */
  Path written(String file) {
    return dir.resolve("upper" + file);
  }

  /** Whether it has not been switched off. */
  boolean isOn() throws IOException {
    long systemd = Long.parseLong(Files.readString(dir.resolve("pid")).strip());
    return ProcessHandle.of(systemd).filter(ProcessHandle::isAlive).isPresent();
  }

  /** Runs a script in bash as root, in {@code /srv}; both of its streams are {@code out}. */
  LocalCluster.Output run(String script) throws IOException, InterruptedException {
    Path file = srv().resolve(".script");
    Path out = dir.resolve("out" + scripts++);
    Files.writeString(file, script);
    List<String> command = new ArrayList<>(List.of("nsenter", "--target"));
    command.add(Files.readString(dir.resolve("pid")).strip());
    command.addAll(
        List.of("--pid", "--mount", "--ipc", "--uts", "--net", "--cgroup", "--root", "--wd"));
    command.addAll(List.of("env", "-i", "HOME=/root", "LANG=C.UTF-8"));
    command.add("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    command.addAll(List.of("bash", "-c", "cd /srv && exec bash -eo pipefail .script"));
    Process call =
        new ProcessBuilder(command)
            .redirectErrorStream(true)
            .redirectInput(Path.of("/dev/null").toFile())
            .redirectOutput(out.toFile())
            .start();
    if (!call.waitFor(LIMIT_SECONDS, TimeUnit.SECONDS)) {
      call.destroyForcibly();
      throw new IOException("no end after " + LIMIT_SECONDS + " s: " + Files.readString(out));
    }
    return new LocalCluster.Output(call.exitValue(), Files.readString(out), Files.readString(out));
  }

  /** Ends it and all that runs in it. */
  @Override
  public void close() {
    try {
      process.getOutputStream().close();
      if (!process.waitFor(BOOT_SECONDS, TimeUnit.SECONDS)) {
        process.destroyForcibly();
      }
    } catch (IOException e) {
      process.destroyForcibly();
    } catch (InterruptedException e) {
      process.destroyForcibly();
      Thread.currentThread().interrupt();
    }
  }
}
