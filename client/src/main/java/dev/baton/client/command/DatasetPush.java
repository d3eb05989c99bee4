package dev.baton.client.command;

import dev.baton.client.connection.Connection;
import dev.baton.client.output.ProgressLine;
import dev.baton.dataset.DatasetDigests;
import dev.baton.dataset.DatasetException;
import dev.baton.dataset.DatasetFormats;
import dev.baton.dataset.DatasetScanner;
import dev.baton.dataset.ScannedDataset;
import dev.baton.transfer.Contents;
import dev.baton.v1.CommitDatasetRequest;
import dev.baton.v1.CompletedUpload;
import dev.baton.v1.CreateDatasetUploadRequest;
import dev.baton.v1.Dataset;
import dev.baton.v1.DatasetFormat;
import dev.baton.v1.GetDatasetRequest;
import dev.baton.v1.UploadContent;
import io.grpc.Status.Code;
import io.grpc.StatusRuntimeException;
import java.io.IOException;
import java.nio.file.Path;
import java.util.Optional;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.ITypeConverter;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;
import picocli.CommandLine.TypeConversionException;

/** Pushes a data set: reads it whole, sends its files, and makes it exist. */
@Command(
    name = "push",
    description = {
      "Push a data set. Every sample is read first, so that a bad one is refused here. A push that"
          + " was interrupted goes on where it was. Prints NAME@DIGEST."
    })
final class DatasetPush extends Verb {
  private static final String NAME = "[a-z0-9._-]{1,63}";

  @Spec private CommandSpec spec = CommandSpec.create();

  @Parameters(index = "0", paramLabel = "NAME", description = "What jobs call it: " + NAME)
  private String name = "";

  @Parameters(index = "1", paramLabel = "PATH", description = "A folder or file with the samples.")
  private Path path = Path.of("");

  @Option(
      names = "--format",
      paramLabel = "FORMAT",
      converter = FormatName.class,
      description = "idx, cifar-binary or image-folder (default: told by what lies there).")
  private @Nullable DatasetFormat format;

  DatasetPush(Baton baton) {
    super(baton);
  }

  /** Reads a format's name. */
  static final class FormatName implements ITypeConverter<DatasetFormat> {
    @Override
    public DatasetFormat convert(String value) {
      try {
        return DatasetFormats.parse(value);
      } catch (DatasetException e) {
        throw new TypeConversionException(e.getMessage());
      }
    }
  }

  @Override
  int run(Connection connection) throws IOException, InterruptedException {
    if (!name.matches(NAME)) {
      throw new ParameterException(
          spec.commandLine(), "'" + name + "' cannot be a data set's name; expected " + NAME);
    }
    // Asked before the long work, so that an unreachable coordinator or a bad token costs none.
    Optional<Dataset> there = find(connection);
    try (ScratchFolder scratch = ScratchFolder.create(shell().environment());
        ProgressLine line = new ProgressLine(terminal(), time()::nanos)) {
      ScannedDataset scanned = DatasetScanner.scan(path, format, scratch.path(), line::work);
      String digest = DatasetDigests.digest(scanned.dataset());
      if (there.isEmpty()) {
        push(connection, scanned, digest, line);
      } else if (!there.get().getDigest().equals(digest)) {
        throw new CommandException(
            ExitCodes.FAILED,
            "a data set "
                + name
                + " exists with other content; choose another name, or remove it with"
                + " 'baton dataset rm "
                + name
                + "'");
      }
      line.clear();
      terminal().println(name + "@" + digest);
    }
    return ExitCodes.DONE;
  }

  private Optional<Dataset> find(Connection connection) {
    try {
      return Optional.of(
          connection.datasets().getDataset(GetDatasetRequest.newBuilder().setName(name).build()));
    } catch (StatusRuntimeException e) {
      if (e.getStatus().getCode() == Code.NOT_FOUND) {
        return Optional.empty();
      }
      throw e;
    }
  }

  private void push(Connection connection, ScannedDataset scanned, String digest, ProgressLine line)
      throws IOException, InterruptedException {
    UploadIds ids =
        UploadIds.in(
            StateFolder.in(shell().environment())
                .resolve("uploads")
                .resolve(name + "-" + digest + ".properties"));
    CommitDatasetRequest.Builder commit =
        CommitDatasetRequest.newBuilder().setDataset(scanned.dataset().toBuilder().setName(name));
    for (Path file : scanned.localFiles()) {
      commit.addUploads(upload(connection, file, ids, line));
    }
    line.show("the coordinator verifies what it got");
    try {
      connection.repeat(() -> connection.datasets().commitDataset(commit.build()));
    } catch (StatusRuntimeException e) {
      if (e.getStatus().getCode() == Code.FAILED_PRECONDITION) {
        // Whatever it holds against these uploads, the next push makes new ones.
        ids.forget();
      }
      throw e;
    }
    ids.forget();
  }

  private CompletedUpload upload(Connection connection, Path file, UploadIds ids, ProgressLine line)
      throws IOException, InterruptedException {
    UploadContent content = Contents.describe(file);
    CreateDatasetUploadRequest request =
        CreateDatasetUploadRequest.newBuilder()
            .setUploadId(ids.idFor(content.getSha256()))
            .setContent(content)
            .build();
    return transfer()
        .upload(
            file,
            content,
            () -> connection.datasets().createDatasetUpload(request),
            line.transfer(String.valueOf(file.getFileName())));
  }
}
