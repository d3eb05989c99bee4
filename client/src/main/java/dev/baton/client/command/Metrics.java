package dev.baton.client.command;

import dev.baton.client.connection.Connection;
import dev.baton.client.output.Json;
import dev.baton.client.output.JsonObject;
import dev.baton.client.output.Table;
import dev.baton.client.output.Units;
import dev.baton.v1.JobRequest;
import dev.baton.v1.MetricPoint;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/** Prints what a job measured. */
@Command(
    name = "metrics",
    description = "Print a job's committed metric points, or a summary of each series.",
    footer = {
      "",
      "csv and json hold every point, by series and step: series, step, value, time (milliseconds"
          + " since the epoch)."
    })
final class Metrics extends Verb {
  enum Format {
    TABLE,
    CSV,
    JSON
  }

  @Option(
      names = {"-o", "--output"},
      paramLabel = "table|csv|json",
      description = "What to print (default: table).")
  private Format format = Format.TABLE;

  @Parameters(paramLabel = "JOB", description = "The job's id.")
  private String id = "";

  Metrics(Baton baton) {
    super(baton);
  }

  @Override
  int run(Connection connection) {
    List<MetricPoint> points =
        connection.jobs().getMetrics(JobRequest.newBuilder().setJobId(id).build()).getPointsList();
    switch (format) {
      case TABLE -> terminal().print(summary(points).toString());
      case CSV -> terminal().print(csv(points));
      case JSON -> terminal().println(Json.write(points.stream().map(Metrics::json).toList()));
    }
    return ExitCodes.DONE;
  }

  private static Table summary(List<MetricPoint> points) {
    Map<String, List<MetricPoint>> series = new TreeMap<>();
    points.forEach(p -> series.computeIfAbsent(p.getSeries(), s -> new ArrayList<>()).add(p));
    Table table = new Table("SERIES", "POINTS", "STEP", "LAST", "MIN", "MAX");
    series.forEach(
        (name, of) -> {
          MetricPoint last = of.get(of.size() - 1);
          table.row(
              name,
              of.size(),
              last.getStep(),
              Units.number(last.getValue()),
              Units.number(of.stream().mapToDouble(MetricPoint::getValue).min().orElseThrow()),
              Units.number(of.stream().mapToDouble(MetricPoint::getValue).max().orElseThrow()));
        });
    return table;
  }

  private static String csv(List<MetricPoint> points) {
    StringBuilder text = new StringBuilder("series,step,value,time\n");
    for (MetricPoint point : points) {
      text.append(quoted(point.getSeries()))
          .append(',')
          .append(point.getStep())
          .append(',')
          .append(point.getValue())
          .append(',')
          .append(point.getTimeMs())
          .append('\n');
    }
    return text.toString();
  }

  /** RFC 4180; class names can hold anything. */
  private static String quoted(String text) {
    return text.matches("[^\",\r\n]*") ? text : '"' + text.replace("\"", "\"\"") + '"';
  }

  private static JsonObject json(MetricPoint point) {
    return new JsonObject()
        .put("series", point.getSeries())
        .put("step", point.getStep())
        .put("value", point.getValue())
        .put("time", point.getTimeMs());
  }
}
