package dev.baton.doctor;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;

/** What was checked, in order, and how it is. */
public final class Diagnosis {

  /** How grave a finding is. */
  public enum Status {
    OK("ok"),
    /** It works, but not as well as it could, or not for long. */
    WARN("warn"),
    FAIL("FAIL");

    private final String word;

    Status(String word) {
      this.word = word;
    }

    /** As it is printed. */
    public String word() {
      return word;
    }
  }

  /**
   * One finding.
   *
   * @param check what was looked at, one word
   * @param message one line: what is so; where that is no good, what to do
   */
  public record Finding(Status status, String check, String message) {}

  private final List<Finding> findings = new ArrayList<>();

  public void ok(String check, String message) {
    add(Status.OK, check, message);
  }

  public void warn(String check, String message) {
    add(Status.WARN, check, message);
  }

  public void fail(String check, String message) {
    add(Status.FAIL, check, message);
  }

  private void add(Status status, String check, String message) {
    findings.add(new Finding(status, check, message.strip().replaceAll("\\s+", " ")));
  }

  public List<Finding> findings() {
    return List.copyOf(findings);
  }

  /** 0 where nothing failed, else 1. */
  public int exitCode() {
    return findings.stream().anyMatch(finding -> finding.status() == Status.FAIL) ? 1 : 0;
  }

  /** A line for each finding: {@code FAIL token: ...}. */
  public String text() {
    StringBuilder text = new StringBuilder();
    for (Finding finding : findings) {
      text.append(
          String.format(
              Locale.ROOT,
              "%-4s  %s: %s%n",
              finding.status().word(),
              finding.check(),
              finding.message()));
    }
    return text.toString();
  }

  /** For JSON: an object for each finding, {status, check, message}. */
  public List<Map<String, String>> rows() {
    List<Map<String, String>> rows = new ArrayList<>();
    for (Finding finding : findings) {
      Map<String, String> row = new LinkedHashMap<>();
      row.put("status", finding.status().word());
      row.put("check", finding.check());
      row.put("message", finding.message());
      rows.add(row);
    }
    return rows;
  }
}
