package dev.baton.deploy;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Comparator;
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

  /**
   * Kills two trainers of a gang: one whose training thread computes, and one whose thread waits,
   * for that one at the latest.
   */
  static void kill(ProcessHandle computes, ProcessHandle waits)
      throws IOException, InterruptedException {
    stopWhere(false, computes);
    stopWhere(true, waits);
    waits.destroyForcibly();
    computes.destroyForcibly();
  }

  /** Stops a trainer where its training thread waits, or where it does not. */
  private static void stopWhere(boolean waiting, ProcessHandle trainer)
      throws IOException, InterruptedException {
    Path training = trainingThread(trainer);
    long end = System.nanoTime() + DigitsJob.LIMIT.toNanos();
    while (System.nanoTime() < end) {
      Daemon.signal("STOP", trainer.pid());
      while (!Files.readString(training.resolve("stat")).contains(") T ")) {
        TimeUnit.MICROSECONDS.sleep(100);
      }
      // proc(5): -1 where it was stopped outside of any system call.
      boolean inSystemCall = !Files.readString(training.resolve("syscall")).startsWith("-1 ");
      if (inSystemCall == waiting) {
        return;
      }
      Daemon.signal("CONT", trainer.pid());
      TimeUnit.MILLISECONDS.sleep(1);
    }
    throw new IOException(trainer + " never " + (waiting ? "waits" : "computes"));
  }

  /** The one of the unnamed threads, Gloo's among them, that has computed most. */
  private static Path trainingThread(ProcessHandle trainer) throws IOException {
    try (Stream<Path> threads = Files.list(Path.of("/proc", "" + trainer.pid(), "task"))) {
      return threads
          .filter(thread -> read(thread.resolve("comm")).strip().equals("java"))
          .max(Comparator.comparingLong(Trainers::userTicks))
          .orElseThrow(() -> new IOException(trainer + " has no thread of Java's"));
    }
  }

  private static long userTicks(Path thread) {
    String stat = read(thread.resolve("stat"));
    // proc(5): utime is field 14; the second one ends with the parenthesis.
    return Long.parseLong(stat.substring(stat.lastIndexOf(')') + 2).split(" ", -1)[11]);
  }

  private static String read(Path file) {
    try {
      return Files.readString(file);
    } catch (IOException e) {
      // The thread has ended.
      return "0 () " + "0 ".repeat(20);
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
