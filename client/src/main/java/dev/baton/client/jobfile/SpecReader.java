package dev.baton.client.jobfile;

import com.google.protobuf.Descriptors.Descriptor;
import com.google.protobuf.Descriptors.EnumDescriptor;
import com.google.protobuf.Descriptors.EnumValueDescriptor;
import com.google.protobuf.Descriptors.FieldDescriptor;
import com.google.protobuf.Descriptors.OneofDescriptor;
import com.google.protobuf.Duration;
import com.google.protobuf.Message;
import dev.baton.client.jobfile.Node.Entry;
import dev.baton.client.jobfile.Node.Mapping;
import dev.baton.client.jobfile.Node.Scalar;
import dev.baton.client.jobfile.Node.Sequence;
import dev.baton.quantity.Quantities;
import dev.baton.v1.Options;
import dev.baton.v1.Quantity;
import java.math.BigInteger;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.regex.Pattern;

/**
 * Reads {@link Node}s into a message by walking its descriptor: the schema alone says what a value
 * must look like, so that a field added to it can be written in job files at once.
 */
final class SpecReader {
  private static final Pattern INTEGER = Pattern.compile("[-+]?(0|[1-9][0-9]*)");
  private static final Pattern DECIMAL =
      Pattern.compile("[-+]?([0-9]+(\\.[0-9]*)?|\\.[0-9]+)([eE][-+]?[0-9]+)?");

  private SpecReader() {}

  static void readInto(Message.Builder message, Mapping root) throws JobFileException {
    fields(message, root, "");
  }

  private static void fields(Message.Builder message, Mapping mapping, String path)
      throws JobFileException {
    Descriptor type = message.getDescriptorForType();
    Map<OneofDescriptor, FieldDescriptor> chosen = new HashMap<>();
    for (Map.Entry<String, Entry> entry : mapping.entries().entrySet()) {
      String key = entry.getKey();
      Place keyPlace = entry.getValue().keyPlace();
      Node value = entry.getValue().value();
      String here = path.isEmpty() ? key : path + "." + key;
      FieldDescriptor field = type.findFieldByName(key);
      if (field == null) {
        throw new JobFileException(
            keyPlace, here, "unknown key" + Spelling.hint(key, names(type.getFields())));
      }
      OneofDescriptor oneof = field.getRealContainingOneof();
      if (oneof != null) {
        FieldDescriptor other = chosen.put(oneof, field);
        if (other != null) {
          throw new JobFileException(
              keyPlace,
              path,
              other.getName()
                  + " and "
                  + key
                  + " exclude each other; give one of "
                  + String.join(", ", names(oneof.getFields())));
        }
      }
      if (field.isRepeated()) {
        items(message, field, value, here);
      } else {
        message.setField(field, value(message, field, value, here));
      }
    }
  }

  private static void items(Message.Builder message, FieldDescriptor field, Node node, String path)
      throws JobFileException {
    if (node instanceof Sequence sequence) {
      for (int i = 0; i < sequence.items().size(); i++) {
        message.addRepeatedField(
            field, value(message, field, sequence.items().get(i), path + "[" + i + "]"));
      }
    } else if (node instanceof Scalar && !isMessage(field)) {
      message.addRepeatedField(field, value(message, field, node, path));
    } else {
      throw wrong(node, path, "a list, as in [" + example(field) + "]");
    }
  }

  private static Object value(Message.Builder parent, FieldDescriptor field, Node node, String path)
      throws JobFileException {
    if (node instanceof Scalar scalar && scalar.isNull()) {
      throw new JobFileException(
          node.place(),
          path,
          "has no value; "
              + (isMessage(field)
                  ? "write {} for its defaults, or leave the key out"
                  : "write one, as in " + example(field) + ", or leave the key out"));
    }
    if (isMessage(field)) {
      if (!(node instanceof Mapping mapping)) {
        throw wrong(node, path, mappingOf(field.getMessageType()));
      }
      Message.Builder message = parent.newBuilderForField(field);
      fields(message, mapping, path);
      return message.build();
    }
    if (!(node instanceof Scalar scalar)) {
      throw wrong(node, path, expected(field));
    }
    return switch (field.getJavaType()) {
      case MESSAGE -> duration(scalar, path);
      case STRING -> scalar.text();
      case BOOLEAN -> bool(field, scalar, path);
      case ENUM -> constant(field.getEnumType(), scalar, path);
      case INT -> (int) integer(field, scalar, path, Integer.MIN_VALUE, Integer.MAX_VALUE);
      case LONG ->
          field.getOptions().getExtension(Options.quantity) == Quantity.QUANTITY_BYTES
              ? bytes(scalar, path)
              : integer(field, scalar, path, Long.MIN_VALUE, Long.MAX_VALUE);
      case DOUBLE -> decimal(field, scalar, path);
      case FLOAT -> (float) decimal(field, scalar, path);
      case BYTE_STRING ->
          throw wrong(node, path, "nothing: the key cannot be written in a job file");
    };
  }

  private static boolean isMessage(FieldDescriptor field) {
    return field.getJavaType() == FieldDescriptor.JavaType.MESSAGE && !isDuration(field);
  }

  private static boolean isDuration(FieldDescriptor field) {
    return field.getMessageType().getFullName().equals(Duration.getDescriptor().getFullName());
  }

  private static Duration duration(Scalar scalar, String path) throws JobFileException {
    java.time.Duration duration =
        Quantities.duration(scalar.text())
            .orElseThrow(
                () -> wrong(scalar, path, "a duration with its unit, as in 30s, 10m or 1h"));
    return Duration.newBuilder()
        .setSeconds(duration.getSeconds())
        .setNanos(duration.getNano())
        .build();
  }

  private static Long bytes(Scalar scalar, String path) throws JobFileException {
    return Quantities.bytes(scalar.text())
        .orElseThrow(() -> wrong(scalar, path, "an amount of memory, as in 512Mi or 2Gi"));
  }

  private static boolean bool(FieldDescriptor field, Scalar scalar, String path)
      throws JobFileException {
    if (!scalar.quoted() && (scalar.text().equals("true") || scalar.text().equals("false"))) {
      return scalar.text().equals("true");
    }
    throw wrong(scalar, path, expected(field));
  }

  private static EnumValueDescriptor constant(EnumDescriptor type, Scalar scalar, String path)
      throws JobFileException {
    List<EnumValueDescriptor> constants = type.getValues().stream().skip(1).toList();
    for (EnumValueDescriptor constant : constants) {
      if (written(constant).equals(scalar.text())) {
        return constant;
      }
    }
    throw new JobFileException(
        scalar.place(),
        path,
        "unknown value "
            + scalar.described()
            + Spelling.hint(scalar.text(), constants.stream().map(SpecReader::written).toList()));
  }

  /** LOSS_CROSS_ENTROPY as cross_entropy. */
  private static String written(EnumValueDescriptor constant) {
    String prefix = constant.getType().getName().replaceAll("([a-z0-9])([A-Z])", "$1_$2") + "_";
    return constant.getName().substring(prefix.length()).toLowerCase(Locale.ROOT);
  }

  private static long integer(FieldDescriptor field, Scalar scalar, String path, long min, long max)
      throws JobFileException {
    if (scalar.quoted() || !INTEGER.matcher(scalar.text()).matches()) {
      throw wrong(scalar, path, expected(field));
    }
    BigInteger value =
        scalar.text().length() > 40 ? BigInteger.ONE.shiftLeft(99) : new BigInteger(scalar.text());
    if (value.bitLength() > 63 || value.longValue() < min || value.longValue() > max) {
      throw wrong(scalar, path, "a whole number from " + min + " to " + max);
    }
    return value.longValue();
  }

  private static double decimal(FieldDescriptor field, Scalar scalar, String path)
      throws JobFileException {
    if (scalar.quoted() || !DECIMAL.matcher(scalar.text()).matches()) {
      throw wrong(scalar, path, expected(field));
    }
    double value = Double.parseDouble(scalar.text());
    if (Double.isInfinite(value)) {
      throw wrong(scalar, path, "a number that 64 bits can hold");
    }
    return value;
  }

  private static JobFileException wrong(Node node, String path, String expected) {
    String found = node.described();
    String hint =
        node instanceof Scalar scalar
                && scalar.quoted()
                && (DECIMAL.matcher(scalar.text()).matches()
                    || scalar.text().equals("true")
                    || scalar.text().equals("false"))
            ? "; leave out the quotes"
            : "";
    return new JobFileException(
        node.place(), path, "expected " + expected + "; found " + found + hint);
  }

  private static String expected(FieldDescriptor field) {
    return switch (field.getJavaType()) {
      case INT, LONG ->
          field.getOptions().getExtension(Options.quantity) == Quantity.QUANTITY_BYTES
              ? "an amount of memory, as in 512Mi or 2Gi"
              : "a whole number";
      case FLOAT, DOUBLE -> "a number";
      case BOOLEAN -> "true or false";
      case STRING -> "text";
      case ENUM ->
          "one of "
              + String.join(
                  ", ",
                  field.getEnumType().getValues().stream()
                      .skip(1)
                      .map(SpecReader::written)
                      .toList());
      case MESSAGE ->
          isDuration(field)
              ? "a duration with its unit, as in 30s, 10m or 1h"
              : mappingOf(field.getMessageType());
      case BYTE_STRING -> "nothing";
    };
  }

  private static String mappingOf(Descriptor type) {
    List<OneofDescriptor> oneofs = type.getRealOneofs();
    boolean choice = oneofs.size() == 1 && oneofs.get(0).getFieldCount() == type.getFields().size();
    return (choice ? "a mapping with one of " : "a mapping with keys such as ")
        + String.join(", ", names(type.getFields()).stream().limit(5).toList());
  }

  private static String example(FieldDescriptor field) {
    return switch (field.getJavaType()) {
      case INT, LONG ->
          field.getOptions().getExtension(Options.quantity) == Quantity.QUANTITY_BYTES
              ? "2Gi"
              : "1";
      case FLOAT, DOUBLE -> "0.5";
      case BOOLEAN -> "true";
      case STRING, BYTE_STRING -> "text";
      case ENUM -> written(field.getEnumType().getValues().get(1));
      case MESSAGE ->
          isDuration(field)
              ? "30s"
              : "{" + field.getMessageType().getFields().get(0).getName() + ": ...}";
    };
  }

  private static List<String> names(List<FieldDescriptor> fields) {
    return fields.stream().map(FieldDescriptor::getName).toList();
  }
}
