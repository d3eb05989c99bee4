package dev.baton.client.jobfile;

import dev.baton.client.jobfile.Node.Entry;
import dev.baton.client.jobfile.Node.Mapping;
import dev.baton.client.jobfile.Node.Scalar;
import dev.baton.client.jobfile.Node.Sequence;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.yaml.snakeyaml.DumperOptions.ScalarStyle;
import org.yaml.snakeyaml.LoaderOptions;
import org.yaml.snakeyaml.error.Mark;
import org.yaml.snakeyaml.error.MarkedYAMLException;
import org.yaml.snakeyaml.error.YAMLException;
import org.yaml.snakeyaml.events.AliasEvent;
import org.yaml.snakeyaml.events.Event;
import org.yaml.snakeyaml.events.MappingStartEvent;
import org.yaml.snakeyaml.events.ScalarEvent;
import org.yaml.snakeyaml.events.SequenceStartEvent;
import org.yaml.snakeyaml.parser.Parser;
import org.yaml.snakeyaml.parser.ParserImpl;
import org.yaml.snakeyaml.reader.ReaderException;
import org.yaml.snakeyaml.reader.StreamReader;

/**
 * Reads one YAML document into {@link Node}s. Nothing is typed here: YAML's own guesses (no is
 * false, 010 is eight) never happen, the schema decides. Aliases, tags and duplicate keys are
 * refused.
 */
final class YamlReader {
  private static final int DEEPEST = 32;

  private final String source;
  private final Parser parser;
  private final boolean linesMatter;

  private YamlReader(String source, Parser parser, boolean linesMatter) {
    this.source = source;
    this.parser = parser;
    this.linesMatter = linesMatter;
  }

  /** The document in {@code text}; {@code source} names it in errors. */
  static Node read(String source, String text) throws JobFileException {
    return read(source, text, true);
  }

  /** One value as it is written on a command line. */
  static Node readValue(String source, String text) throws JobFileException {
    return read(source, text, false);
  }

  private static Node read(String source, String text, boolean linesMatter)
      throws JobFileException {
    try {
      LoaderOptions options = new LoaderOptions();
      options.setProcessComments(false);
      YamlReader reader =
          new YamlReader(source, new ParserImpl(new StreamReader(text), options), linesMatter);
      return reader.document();
    } catch (MarkedYAMLException e) {
      Mark mark = e.getProblemMark();
      int line = linesMatter && mark != null ? mark.getLine() + 1 : 0;
      String problem = e.getProblem() == null ? "not YAML" : e.getProblem();
      throw new JobFileException(new Place(source, line), "", "not YAML: " + oneLine(problem));
    } catch (ReaderException e) {
      int line = 1 + (int) text.codePoints().limit(e.getPosition()).filter(c -> c == '\n').count();
      throw new JobFileException(
          new Place(source, linesMatter ? line : 0),
          "",
          String.format("the character U+%04X does not belong in YAML", e.getCodePoint()));
    } catch (YAMLException e) {
      throw new JobFileException(
          new Place(source, 0), "", "not YAML: " + oneLine(String.valueOf(e.getMessage())));
    }
  }

  private static String oneLine(String text) {
    return text.strip().replaceAll("\\s+", " ");
  }

  private Node document() throws JobFileException {
    parser.getEvent(); // stream start
    if (parser.checkEvent(Event.ID.StreamEnd)) {
      return new Scalar(new Place(source, linesMatter ? 1 : 0), "", false);
    }
    parser.getEvent(); // document start
    Node root = node(0);
    parser.getEvent(); // document end
    if (!parser.checkEvent(Event.ID.StreamEnd)) {
      throw new JobFileException(
          place(parser.peekEvent()), "", "a second document begins here; one file, one document");
    }
    return root;
  }

  private Node node(int depth) throws JobFileException {
    Event event = parser.getEvent();
    Place place = place(event);
    if (depth > DEEPEST) {
      throw new JobFileException(place, "", "nested more than " + DEEPEST + " levels deep");
    }
    if (event instanceof AliasEvent) {
      throw new JobFileException(
          place, "", "aliases (*name) are not read here; write the value out");
    }
    if (event instanceof ScalarEvent scalar) {
      refuseTag(place, scalar.getTag());
      return new Scalar(place, scalar.getValue(), scalar.getScalarStyle() != ScalarStyle.PLAIN);
    }
    if (event instanceof SequenceStartEvent sequence) {
      refuseTag(place, sequence.getTag());
      List<Node> items = new ArrayList<>();
      while (!parser.checkEvent(Event.ID.SequenceEnd)) {
        items.add(node(depth + 1));
      }
      parser.getEvent();
      return new Sequence(place, List.copyOf(items));
    }
    refuseTag(place, ((MappingStartEvent) event).getTag());
    Map<String, Entry> entries = new LinkedHashMap<>();
    while (!parser.checkEvent(Event.ID.MappingEnd)) {
      Node key = node(depth + 1);
      if (!(key instanceof Scalar name)) {
        throw new JobFileException(key.place(), "", "a key cannot be " + key.described());
      }
      Node value = node(depth + 1);
      Entry earlier = entries.putIfAbsent(name.text(), new Entry(key.place(), value));
      if (earlier != null) {
        throw new JobFileException(
            key.place(),
            "",
            "the key "
                + name.described()
                + " stands here twice"
                + (linesMatter ? ", first in line " + earlier.keyPlace().line() : ""));
      }
    }
    parser.getEvent();
    return new Mapping(place, entries);
  }

  private static void refuseTag(Place place, @org.jspecify.annotations.Nullable String tag)
      throws JobFileException {
    if (tag != null) {
      throw new JobFileException(place, "", "tags (!name) are not read here; leave it out");
    }
  }

  private Place place(Event event) {
    return new Place(source, linesMatter ? event.getStartMark().getLine() + 1 : 0);
  }
}
