package dev.baton.client.command;

import dev.baton.client.connection.Connection;
import dev.baton.client.output.Json;
import dev.baton.client.output.JsonObject;
import dev.baton.client.output.ProgressLine;
import dev.baton.client.output.Table;
import dev.baton.client.output.Units;
import dev.baton.transfer.DigestMismatchException;
import dev.baton.transfer.FileProblems;
import dev.baton.transfer.TransferListener;
import dev.baton.v1.Artifact;
import dev.baton.v1.DownloadArtifactRequest;
import dev.baton.v1.JobRequest;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/** What jobs leave. */
@Command(
    name = "artifacts",
    description = "List and fetch what a job has left: model, metrics, log.",
    synopsisSubcommandLabel = "VERB")
final class Artifacts extends VerbGroup {
  static CommandLine line(Baton baton) {
    return new CommandLine(new Artifacts())
        .addSubcommand("ls", new Ls(baton))
        .addSubcommand("get", new Get(baton));
  }

  /** Lists a job's artifacts. */
  @Command(
      name = "ls",
      description = "List a job's artifacts.",
      footer = {"", "With -o json: [{name, bytes, sha256, created_at}]."})
  static final class Ls extends Verb {
    @Mixin private OutputFormat output = new OutputFormat();

    @Parameters(paramLabel = "JOB", description = "The job's id.")
    private String id = "";

    Ls(Baton baton) {
      super(baton);
    }

    @Override
    int run(Connection connection) {
      List<Artifact> artifacts =
          connection
              .jobs()
              .listArtifacts(JobRequest.newBuilder().setJobId(id).build())
              .getArtifactsList();
      if (output.json()) {
        terminal().println(Json.write(artifacts.stream().map(Ls::json).toList()));
        return ExitCodes.DONE;
      }
      Table table = new Table("NAME", "SIZE", "CREATED", "SHA-256");
      for (Artifact artifact : artifacts) {
        table.row(
            artifact.getName(),
            Units.bytes(artifact.getBytes()),
            Units.time(artifact.getCreatedAtMs()),
            artifact.getSha256());
      }
      terminal().print(table.toString());
      return ExitCodes.DONE;
    }

    private static JsonObject json(Artifact artifact) {
      return new JsonObject()
          .put("name", artifact.getName())
          .put("bytes", artifact.getBytes())
          .put("sha256", artifact.getSha256())
          .put("created_at", Units.isoTime(artifact.getCreatedAtMs()));
    }
  }

  /** Fetches an artifact. */
  @Command(
      name = "get",
      description = "Fetch an artifact; the file is there only once it has proved whole.")
  static final class Get extends Verb {
    @Option(
        names = {"-O", "--output-file"},
        paramLabel = "FILE",
        description =
            "Where to write it (default: under its own name, here); - for standard output.")
    private @Nullable String file;

    @Parameters(index = "0", paramLabel = "JOB", description = "The job's id.")
    private String id = "";

    @Parameters(index = "1", paramLabel = "NAME", description = "The artifact's name.")
    private String name = "";

    Get(Baton baton) {
      super(baton);
    }

    @Override
    int run(Connection connection) throws IOException, InterruptedException {
      if ("-".equals(file)) {
        try (ScratchFolder scratch = ScratchFolder.create(shell().environment())) {
          Path target = scratch.path().resolve("artifact");
          fetch(connection, target);
          copyToOutput(target);
        }
      } else {
        fetch(connection, target());
      }
      return ExitCodes.DONE;
    }

    private Path target() {
      // An artifact's name may have folders in it; its file is written here all the same.
      Path own = Path.of(name).getFileName();
      if (own == null || own.toString().equals("..")) {
        throw new CommandException(ExitCodes.USAGE, "'" + name + "' is no artifact's name");
      }
      if (file == null) {
        return own;
      }
      Path target = Path.of(file);
      return Files.isDirectory(target) ? target.resolve(own) : target;
    }

    private void fetch(Connection connection, Path target)
        throws IOException, InterruptedException {
      DownloadArtifactRequest request =
          DownloadArtifactRequest.newBuilder().setJobId(id).setName(name).build();
      Path part = target.resolveSibling(target.getFileName() + ".part");
      boolean resumes = Files.exists(part);
      try (ProgressLine line = new ProgressLine(terminal(), time()::nanos)) {
        TransferListener listener = line.transfer(name);
        try {
          download(connection, request, target, listener);
        } catch (DigestMismatchException e) {
          // What lay there was the beginning of something else, and is gone now.
          if (!resumes) {
            throw e;
          }
          download(connection, request, target, listener);
        }
      }
    }

    private void download(
        Connection connection,
        DownloadArtifactRequest request,
        Path target,
        TransferListener listener)
        throws IOException, InterruptedException {
      try {
        transfer().download(() -> connection.jobs().downloadArtifact(request), target, listener);
      } catch (java.nio.file.FileSystemException e) {
        throw new CommandException(
            ExitCodes.FAILED, "cannot write " + FileProblems.describe(target, e));
      }
    }

    private void copyToOutput(Path source) throws IOException {
      byte[] buffer = new byte[1 << 16];
      try (InputStream in = Files.newInputStream(source)) {
        for (int n = in.read(buffer); n >= 0; n = in.read(buffer)) {
          terminal().write(buffer, 0, n);
        }
      }
      terminal().flush();
    }
  }
}
