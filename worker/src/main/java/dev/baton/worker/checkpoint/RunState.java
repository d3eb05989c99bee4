package dev.baton.worker.checkpoint;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.baton.worker.trainer.Engine.Totals;
import java.util.List;

/**
 * Everything of a run that is no tensor. Written as JSON into the checkpoint's metadata; float64
 * values as hexadecimal, so that they come back to the bit.
 *
 * @param specDigest of the job that it belongs to
 * @param kind what the run's results were exact within when this was written
 * @param shards slices of every global batch
 * @param threads of each replica's trainer
 * @param step steps completed
 * @param epoch the one under way, from 1; the one just completed while its end is due
 * @param samples trained on, over all epochs
 * @param epochEndDue the epoch's last step is done, its evaluation and its points are not
 * @param log since the last log point
 * @param logSeconds training time since then
 * @param logWaitSeconds of which waited for data
 * @param epochSums since the epoch's begin
 * @param epochSeconds time since then, over all attempts
 */
public record RunState(
    String specDigest,
    String kind,
    int shards,
    int threads,
    long step,
    int epoch,
    long samples,
    boolean epochEndDue,
    Totals log,
    double logSeconds,
    double logWaitSeconds,
    Totals epochSums,
    double epochSeconds) {

  private static final int FORMAT = 1;
  private static final JsonMapper JSON = new JsonMapper();

  /**
   * Kept for state that no release writes yet. One that is not null belongs to a job that this
   * release cannot continue exactly.
   */
  private static final List<String> RESERVED = List.of("schedule", "scaler", "ema", "best_metric");

  /** The state before the first step. */
  public static RunState beginning(String specDigest, String kind, int shards, int threads) {
    return new RunState(
        specDigest, kind, shards, threads, 0, 1, 0, false, Totals.ZERO, 0, 0, Totals.ZERO, 0);
  }

  /** As JSON. */
  public String toJson() {
    ObjectNode root = JSON.createObjectNode();
    root.put("format", FORMAT);
    root.put("spec_digest", specDigest);
    root.put("kind", kind);
    root.put("shards", shards);
    root.put("threads", threads);
    root.put("step", step);
    root.put("epoch", epoch);
    root.put("samples", samples);
    root.put("epoch_end_due", epochEndDue);
    put(root, "log", log);
    root.put("log_seconds", Double.toHexString(logSeconds));
    root.put("log_wait_seconds", Double.toHexString(logWaitSeconds));
    put(root, "epoch_sums", epochSums);
    root.put("epoch_seconds", Double.toHexString(epochSeconds));
    RESERVED.forEach(root::putNull);
    return root.toString();
  }

  /**
   * From JSON.
   *
   * @throws CheckpointException naming the field that is missing or wrong
   */
  public static RunState fromJson(String json) throws CheckpointException {
    JsonNode root;
    try {
      root = JSON.readTree(json);
    } catch (JsonProcessingException e) {
      throw new CheckpointException("run state is no JSON: " + e.getOriginalMessage(), e);
    }
    int format = (int) integer(root, "format", 0, Integer.MAX_VALUE);
    if (format != FORMAT) {
      throw CheckpointException.ofAnotherRelease(
          "run state has format %d; this release reads %d".formatted(format, FORMAT));
    }
    for (String name : RESERVED) {
      if (!root.path(name).isNull()) {
        throw CheckpointException.ofAnotherRelease(
            "run state holds '" + name + "', which this release cannot continue");
      }
    }
    if (!root.path("epoch_end_due").isBoolean()) {
      throw new CheckpointException("run state lacks epoch_end_due");
    }
    return new RunState(
        text(root, "spec_digest"),
        text(root, "kind"),
        (int) integer(root, "shards", 1, Integer.MAX_VALUE),
        (int) integer(root, "threads", 0, Integer.MAX_VALUE),
        integer(root, "step", 0, Long.MAX_VALUE),
        (int) integer(root, "epoch", 1, Integer.MAX_VALUE),
        integer(root, "samples", 0, Long.MAX_VALUE),
        root.path("epoch_end_due").booleanValue(),
        totals(root, "log"),
        real(root, "log_seconds"),
        real(root, "log_wait_seconds"),
        totals(root, "epoch_sums"),
        real(root, "epoch_seconds"));
  }

  private static void put(ObjectNode root, String name, Totals totals) {
    root.putObject(name)
        .put("loss", Double.toHexString(totals.loss()))
        .put("correct", Double.toHexString(totals.correct()))
        .put("samples", Double.toHexString(totals.samples()));
  }

  private static Totals totals(JsonNode root, String name) throws CheckpointException {
    JsonNode node = root.path(name);
    return new Totals(real(node, "loss"), real(node, "correct"), real(node, "samples"));
  }

  private static String text(JsonNode root, String name) throws CheckpointException {
    JsonNode node = root.path(name);
    if (!node.isTextual()) {
      throw new CheckpointException("run state lacks " + name);
    }
    return node.textValue();
  }

  private static long integer(JsonNode root, String name, long min, long max)
      throws CheckpointException {
    JsonNode node = root.path(name);
    if (!node.isIntegralNumber()
        || !node.canConvertToLong()
        || node.longValue() < min
        || node.longValue() > max) {
      throw new CheckpointException("run state's " + name + " is missing or out of range");
    }
    return node.longValue();
  }

  private static double real(JsonNode root, String name) throws CheckpointException {
    String text = text(root, name);
    try {
      double value = Double.parseDouble(text);
      if (Double.isFinite(value)) {
        return value;
      }
    } catch (NumberFormatException e) {
      throw new CheckpointException("run state's " + name + " is no number: " + text, e);
    }
    throw new CheckpointException("run state's " + name + " is not finite: " + text);
  }
}
