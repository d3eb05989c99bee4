package dev.baton.coordinator.web;

import java.util.Locale;
import java.util.Map;

/** Writes Prometheus' text format, version 0.0.4. */
public final class PrometheusText {
  private final StringBuilder text = new StringBuilder(1024);

  /** A value that goes up and down. */
  public PrometheusText gauge(String name, String help, double value) {
    head(name, help, "gauge");
    line(name, "", value);
    return this;
  }

  /** One value for each value of a label. */
  public PrometheusText gauges(
      String name, String help, String label, Map<String, ? extends Number> values) {
    head(name, help, "gauge");
    values.forEach(
        (key, value) -> line(name, "{" + label + "=\"" + key + "\"}", value.doubleValue()));
    return this;
  }

  /** A value that only grows. */
  public PrometheusText counter(String name, String help, double value) {
    head(name, help, "counter");
    line(name, "", value);
    return this;
  }

  private void head(String name, String help, String type) {
    text.append("# HELP ").append(name).append(' ').append(help).append('\n');
    text.append("# TYPE ").append(name).append(' ').append(type).append('\n');
  }

  private void line(String name, String labels, double value) {
    text.append(name).append(labels).append(' ');
    if (value == Math.rint(value) && Math.abs(value) < 1e15) {
      text.append((long) value);
    } else {
      text.append(String.format(Locale.ROOT, "%.6g", value));
    }
    text.append('\n');
  }

  @Override
  public String toString() {
    return text.toString();
  }
}
