package dev.baton.client.jobfile;

import dev.baton.client.jobfile.Node.Entry;
import dev.baton.client.jobfile.Node.Mapping;
import dev.baton.client.jobfile.Node.Scalar;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/** One {@code --set a.b.c=value}: replaces or adds a value before the file is read. */
record Setting(Place place, List<String> path, Node value) {

  static Setting parse(String text) throws JobFileException {
    int equals = text.indexOf('=');
    Place place = new Place("--set " + (equals < 0 ? text : text.substring(0, equals)), 0);
    if (equals <= 0) {
      throw new JobFileException(place, "", "expected KEY.KEY=VALUE, as in training.epochs=3");
    }
    List<String> path = List.of(text.substring(0, equals).split("\\.", -1));
    if (path.contains("")) {
      throw new JobFileException(place, "", "an empty key; expected KEY.KEY=VALUE");
    }
    return new Setting(
        place, path, YamlReader.readValue(place.source(), text.substring(equals + 1)));
  }

  Mapping appliedTo(Mapping root) throws JobFileException {
    return put(root, 0);
  }

  private Mapping put(Mapping in, int depth) throws JobFileException {
    String key = path.get(depth);
    Map<String, Entry> entries = new LinkedHashMap<>(in.entries());
    @Nullable Entry there = entries.get(key);
    Node next = depth == path.size() - 1 ? value : put(mapping(there, depth), depth + 1);
    entries.put(key, new Entry(there == null || next == value ? place : there.keyPlace(), next));
    return new Mapping(in.place(), entries);
  }

  private Mapping mapping(@Nullable Entry entry, int depth) throws JobFileException {
    if (entry == null || (entry.value() instanceof Scalar scalar && scalar.isNull())) {
      return new Mapping(place, Map.of());
    }
    if (entry.value() instanceof Mapping mapping) {
      return mapping;
    }
    String parent = String.join(".", path.subList(0, depth + 1));
    throw new JobFileException(
        place,
        "",
        parent
            + " is "
            + entry.value().described()
            + ", not a mapping; set it as a whole: "
            + parent
            + "=VALUE");
  }
}
