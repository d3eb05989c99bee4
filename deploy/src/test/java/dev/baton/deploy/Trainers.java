package dev.baton.deploy;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;

/** What the trainers of a worker do. */
final class Trainers {
  private Trainers() {}

  /** The one that trains on pictures: it has them open, a spare has not. */
  static ProcessHandle atWork(Daemon worker) {
    return worker.children().stream()
        .filter(Trainers::hasPictures)
        .findFirst()
        .orElseThrow(() -> new IllegalStateException(worker.name() + " trains nothing"));
  }

  private static boolean hasPictures(ProcessHandle trainer) {
    try (Stream<Path> open = Files.list(Path.of("/proc", Long.toString(trainer.pid()), "fd"))) {
      return open.anyMatch(Trainers::isPictures);
    } catch (IOException | UncheckedIOException e) {
      // It has ended.
      return false;
    }
  }

  private static boolean isPictures(Path file) {
    try {
      String target = Files.readSymbolicLink(file).toString();
      // A spare that makes its tiny job has pictures of its own, elsewhere.
      return target.contains("/decoded/") && target.endsWith(".samples");
    } catch (IOException e) {
      // Closed meanwhile.
      return false;
    }
  }

  /** Waits until the worker has a snapshot on its disk that is not committed yet. */
  static void awaitSnapshot(LocalCluster cluster, Daemon worker)
      throws IOException, InterruptedException {
    Path attempts = cluster.dir().resolve(worker.name());
    long end = System.nanoTime() + DigitsJob.LIMIT.toNanos();
    while (System.nanoTime() < end) {
      try (Stream<Path> files = Files.walk(attempts)) {
        if (files.anyMatch(f -> f.toString().contains("/attempt/checkpoint-"))) {
          return;
        }
      } catch (UncheckedIOException e) {
        // A folder went while we walked; look again.
      }
      // It lies there for some milliseconds only.
      TimeUnit.MICROSECONDS.sleep(500);
    }
    throw new IOException("no snapshot in " + attempts);
  }
}
