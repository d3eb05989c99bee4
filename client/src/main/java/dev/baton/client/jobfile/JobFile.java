package dev.baton.client.jobfile;

import dev.baton.client.jobfile.Node.Mapping;
import dev.baton.client.jobfile.Node.Scalar;
import dev.baton.v1.JobSpec;
import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.util.List;

/**
 * Job files. The message {@code JobSpec} is their schema: a key is a field's name, an enum's value
 * is written without its prefix in lower case, a duration as 30s, an amount of memory as 2Gi.
 */
public final class JobFile {
  /** More is not a job file. */
  private static final int LARGEST_BYTES = 1 << 20;

  private JobFile() {}

  /**
   * Reads a job file.
   *
   * @param source names the file in errors
   * @param content UTF-8
   * @param settings as {@code a.b.c=value}, later ones over earlier ones over the file
   */
  public static JobSpec read(String source, byte[] content, List<String> settings)
      throws JobFileException {
    Mapping root = root(source, YamlReader.read(source, decode(source, content)));
    for (String setting : settings) {
      root = Setting.parse(setting).appliedTo(root);
    }
    JobSpec.Builder spec = JobSpec.newBuilder();
    SpecReader.readInto(spec, root);
    return spec.build();
  }

  static Mapping root(String source, Node node) throws JobFileException {
    if (node instanceof Mapping mapping) {
      return mapping;
    }
    throw new JobFileException(
        new Place(source, 0),
        "",
        node instanceof Scalar scalar && scalar.isNull()
            ? "is empty; expected keys with values, as in name: my-job"
            : "expected keys with values, as in name: my-job; found " + node.described());
  }

  static String decode(String source, byte[] content) throws JobFileException {
    if (content.length > LARGEST_BYTES) {
      throw new JobFileException(
          new Place(source, 0), "", content.length + " bytes; expected at most 1 MiB");
    }
    try {
      String text = StandardCharsets.UTF_8.newDecoder().decode(ByteBuffer.wrap(content)).toString();
      return text.startsWith("\uFEFF") ? text.substring(1) : text;
    } catch (CharacterCodingException e) {
      throw new JobFileException(new Place(source, 0), "", "is not UTF-8 text");
    }
  }
}
