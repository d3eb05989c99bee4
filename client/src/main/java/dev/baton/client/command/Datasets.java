package dev.baton.client.command;

import dev.baton.client.connection.Connection;
import dev.baton.client.output.Json;
import dev.baton.client.output.JsonObject;
import dev.baton.client.output.Table;
import dev.baton.client.output.Units;
import dev.baton.dataset.DatasetFormats;
import dev.baton.v1.Dataset;
import dev.baton.v1.DatasetFile;
import dev.baton.v1.DatasetSplit;
import dev.baton.v1.DeleteDatasetRequest;
import dev.baton.v1.GetDatasetRequest;
import dev.baton.v1.ListDatasetsRequest;
import java.util.List;
import java.util.stream.Collectors;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Parameters;

/** The data sets that the coordinator keeps. */
@Command(
    name = "dataset",
    description = "Push, list, show and remove data sets.",
    synopsisSubcommandLabel = "VERB")
final class Datasets extends VerbGroup {
  static CommandLine line(Baton baton) {
    return new CommandLine(new Datasets())
        .addSubcommand("push", new DatasetPush(baton))
        .addSubcommand("ls", new Ls(baton))
        .addSubcommand("show", new ShowOne(baton))
        .addSubcommand("rm", new Rm(baton));
  }

  /** Lists data sets. */
  @Command(
      name = "ls",
      description = "List data sets.",
      footer = {"", "With -o json: a list of what 'baton dataset show' prints."})
  static final class Ls extends Verb {
    @Mixin private OutputFormat output = new OutputFormat();

    Ls(Baton baton) {
      super(baton);
    }

    @Override
    int run(Connection connection) {
      List<Dataset> datasets =
          connection
              .datasets()
              .listDatasets(ListDatasetsRequest.getDefaultInstance())
              .getDatasetsList();
      if (output.json()) {
        terminal().println(Json.write(datasets.stream().map(Datasets::json).toList()));
        return ExitCodes.DONE;
      }
      Table table = new Table("NAME", "FORMAT", "SPLITS", "CLASSES", "SIZE", "CREATED", "DIGEST");
      for (Dataset dataset : datasets) {
        table.row(
            dataset.getName(),
            DatasetFormats.name(dataset.getFormat()),
            dataset.getSplitsList().stream()
                .map(split -> split.getName() + ": " + split.getSamples())
                .collect(Collectors.joining(", ")),
            dataset.getSplitsList().stream().mapToInt(DatasetSplit::getClasses).max().orElse(0),
            Units.bytes(bytes(dataset)),
            Units.time(dataset.getCreatedAtMs()),
            dataset.getDigest().length() > 12
                ? dataset.getDigest().substring(0, 12)
                : dataset.getDigest());
      }
      terminal().print(table.toString());
      return ExitCodes.DONE;
    }
  }

  /** Shows a data set. */
  @Command(
      name = "show",
      description = "Show a data set.",
      footer = {
        "",
        "With -o json: {name, digest, format, bytes, splits: [{name, samples, shape, classes}],",
        "class_names, files: [{path, bytes, sha256}], created_at}."
      })
  static final class ShowOne extends Verb {
    @Mixin private OutputFormat output = new OutputFormat();

    @Parameters(paramLabel = "NAME", description = "The data set's name.")
    private String name = "";

    ShowOne(Baton baton) {
      super(baton);
    }

    @Override
    int run(Connection connection) {
      Dataset dataset =
          connection.datasets().getDataset(GetDatasetRequest.newBuilder().setName(name).build());
      if (output.json()) {
        terminal().println(json(dataset).toString());
        return ExitCodes.DONE;
      }
      terminal().say("Dataset: " + dataset.getName() + "@" + dataset.getDigest());
      terminal().say("Format:  " + DatasetFormats.name(dataset.getFormat()));
      terminal().say("Created: " + Units.time(dataset.getCreatedAtMs()));
      if (dataset.getClassNamesCount() > 0) {
        terminal().say("Classes: " + String.join(", ", dataset.getClassNamesList()));
      }
      Table splits = new Table("SPLIT", "SAMPLES", "SHAPE", "CLASSES");
      for (DatasetSplit split : dataset.getSplitsList()) {
        splits.row(
            split.getName(),
            split.getSamples(),
            split.getShapeList().stream()
                .map(n -> n == 0 ? "*" : n.toString())
                .collect(Collectors.joining("x")),
            split.getClasses());
      }
      terminal().print("\n" + splits);
      Table files = new Table("FILE", "SIZE", "SHA-256");
      for (DatasetFile file : dataset.getFilesList()) {
        files.row(file.getPath(), Units.bytes(file.getBytes()), file.getSha256());
      }
      terminal().print("\n" + files);
      return ExitCodes.DONE;
    }
  }

  /** Removes a data set. */
  @Command(name = "rm", description = "Remove a data set that no unfinished job refers to.")
  static final class Rm extends Verb {
    @Parameters(paramLabel = "NAME", description = "The data set's name.")
    private String name = "";

    Rm(Baton baton) {
      super(baton);
    }

    @Override
    int run(Connection connection) {
      connection.datasets().deleteDataset(DeleteDatasetRequest.newBuilder().setName(name).build());
      return ExitCodes.DONE;
    }
  }

  static JsonObject json(Dataset dataset) {
    return new JsonObject()
        .put("name", dataset.getName())
        .put("digest", dataset.getDigest())
        .put("format", DatasetFormats.name(dataset.getFormat()))
        .put("bytes", bytes(dataset))
        .put("splits", dataset.getSplitsList().stream().map(Datasets::json).toList())
        .put("class_names", dataset.getClassNamesList())
        .put("files", dataset.getFilesList().stream().map(Datasets::json).toList())
        .put("created_at", Units.isoTime(dataset.getCreatedAtMs()));
  }

  private static JsonObject json(DatasetSplit split) {
    return new JsonObject()
        .put("name", split.getName())
        .put("samples", split.getSamples())
        .put("shape", split.getShapeList())
        .put("classes", split.getClasses());
  }

  private static JsonObject json(DatasetFile file) {
    return new JsonObject()
        .put("path", file.getPath())
        .put("bytes", file.getBytes())
        .put("sha256", file.getSha256());
  }

  private static long bytes(Dataset dataset) {
    return dataset.getFilesList().stream().mapToLong(DatasetFile::getBytes).sum();
  }
}
