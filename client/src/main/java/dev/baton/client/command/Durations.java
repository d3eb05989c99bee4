package dev.baton.client.command;

import dev.baton.quantity.Quantities;
import java.time.Duration;
import picocli.CommandLine.ITypeConverter;
import picocli.CommandLine.TypeConversionException;

/** Reads durations as job files write them. */
final class Durations implements ITypeConverter<Duration> {
  @Override
  public Duration convert(String value) {
    return Quantities.duration(value)
        .orElseThrow(
            () ->
                new TypeConversionException(
                    "'"
                        + value
                        + "' is no duration; expected a number with its unit, as in 30s, 10m, 1h30m"));
  }
}
