package dev.baton.client.jobfile;

import dev.baton.client.jobfile.Node.Scalar;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;

/** YAML files that hold nothing but plain {@code key: text} lines. */
public final class FlatYaml {
  private FlatYaml() {}

  /**
   * Reads a file of plain {@code key: text} lines.
   *
   * @param known the keys that may stand there
   */
  public static Map<String, String> read(String source, byte[] content, List<String> known)
      throws JobFileException {
    Node node = YamlReader.read(source, JobFile.decode(source, content));
    if (node instanceof Scalar scalar && scalar.isNull()) {
      return Map.of();
    }
    Map<String, String> values = new TreeMap<>();
    for (var entry : JobFile.root(source, node).entries().entrySet()) {
      String key = entry.getKey();
      if (!known.contains(key)) {
        throw new JobFileException(
            entry.getValue().keyPlace(), key, "unknown key" + Spelling.hint(key, known));
      }
      if (!(entry.getValue().value() instanceof Scalar value) || value.isNull()) {
        throw new JobFileException(
            entry.getValue().keyPlace(),
            key,
            "expected text, found " + entry.getValue().value().described());
      }
      values.put(key, value.text());
    }
    return values;
  }
}
