package dev.baton.worker.process;

import dev.baton.worker.natives.NativeLibraries;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/**
 * How the trainer's JVM is started.
 *
 * @param java the {@code java} to run
 * @param classPath its class path
 * @param mainClass its main class, whose one argument is the socket's path
 * @param heapBytes {@code -Xmx}
 * @param directBytes what its buffers outside the heap may take (snapshots of the state)
 * @param natives the libraries that it loads
 */
public record TrainerCommand(
    Path java,
    String classPath,
    String mainClass,
    long heapBytes,
    long directBytes,
    NativeLibraries natives) {

  /** The command line. */
  public List<String> line(Path dir, Path socket) {
    List<String> line = new ArrayList<>();
    line.add(java.toString());
    line.add("-Xmx" + heapBytes);
    line.add("-XX:MaxDirectMemorySize=" + directBytes);
    line.addAll(TrainerEnvironment.javaOptions());
    line.addAll(natives.javaOptions());
    line.add("-XX:-UsePerfData");
    line.add("-Djava.io.tmpdir=" + dir);
    line.add("-XX:+ExitOnOutOfMemoryError");
    line.add("-XX:ErrorFile=" + dir.resolve("hs_err.log"));
    line.add("-cp");
    line.add(classPath);
    line.add(mainClass);
    line.add(socket.toString());
    return TrainerEnvironment.asBatchWork(line);
  }
}
