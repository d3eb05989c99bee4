package dev.baton.client.output;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.fasterxml.jackson.databind.ObjectMapper;
import dev.baton.client.output.Terminal.Screen;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class OutputTest {
  @ParameterizedTest
  @CsvSource({"0,0 B", "1023,1023 B", "1024,1.0 KiB", "54968320,52.4 MiB", "1099511627776,1.0 TiB"})
  void bytes(long bytes, String expected) {
    assertThat(Units.bytes(bytes)).isEqualTo(expected);
  }

  @ParameterizedTest
  @CsvSource({
    "-3,0s",
    "0,0s",
    "59.4,59s",
    "59.6,1m00s",
    "125,2m05s",
    "3600,1h00m",
    "93784,1d2h",
    "1e300,forever",
    "NaN,0s"
  })
  void durations(double seconds, String expected) {
    assertThat(Units.duration(seconds)).isEqualTo(expected);
  }

  @Test
  void times() {
    assertThat(Units.isoTime(0)).isNull();
    assertThat(Units.isoTime(1_767_225_600_007L)).isEqualTo("2026-01-01T00:00:00.007Z");
    assertThat(Units.time(1_767_225_600_007L)).isEqualTo("2026-01-01 00:00:00Z");
    assertThat(Units.time(0)).isEqualTo("-");
  }

  @Test
  void tablesAlignAndStayOnOneLine() {
    Table table = new Table("NAME", "N");
    table.row("a", 10);
    table.row("long\nname", 7);
    assertThat(table).hasToString("NAME        N\na          10\nlong?name   7\n");
    assertThatThrownBy(() -> table.row("a")).isInstanceOf(IllegalArgumentException.class);
  }

  @Test
  void jsonIsReadBackAsItWas() throws IOException {
    String odd = "q\" \\ \n\r\t\u0001 \u007f \u00fc \ud83d\ude00 /";
    JsonObject object =
        new JsonObject()
            .put("text", odd)
            .put("numbers", List.of(1, 2L, -0.5, 1e-12, 1e300, 3.0))
            .put("none", null)
            .put("empty", List.of())
            .put("flag", true)
            .put("nested", new JsonObject());
    var read = new ObjectMapper().readTree(object.toString());
    assertThat(read.get("text").asText()).isEqualTo(odd);
    assertThat(read.get("numbers").toString()).isEqualTo("[1,2,-0.5,1.0E-12,1.0E300,3.0]");
    assertThat(read.get("none").isNull()).isTrue();
    assertThat(read.get("nested").toString()).isEqualTo("{}");
    assertThat(object.toString()).doesNotContain("\n");
    assertThat(Json.write(List.of(Double.NaN, Double.POSITIVE_INFINITY))).isEqualTo("[null, null]");
    assertThat(Json.write("\ud800x")).isEqualTo("\"\\ud800x\"");
  }

  private static Terminal writingTo(OutputStream out, OutputStream err, Screen screen) {
    return new Terminal(out, err, screen, () -> Terminal.Size.USUAL);
  }

  private static OutputStream failing(String message) {
    return new OutputStream() {
      @Override
      public void write(int b) throws IOException {
        throw new IOException(message);
      }
    };
  }

  @Test
  void aClosedPipeIsNoErrorAndAFullDiskIs() {
    OutputStream err = new ByteArrayOutputStream();
    assertThatThrownBy(() -> writingTo(failing("Broken pipe"), err, Screen.NONE).println("x"))
        .isInstanceOf(Terminal.ClosedException.class);
    assertThatThrownBy(
            () -> writingTo(failing("No space left on device"), err, Screen.NONE).println("x"))
        .isInstanceOf(UncheckedIOException.class)
        .hasMessage("writing to standard output: No space left on device");
    writingTo(new ByteArrayOutputStream(), failing("Broken pipe"), Screen.NONE)
        .note("nobody hears");
  }

  @Test
  void theLiveLineKeepsToTheScreenAndGoesAway() {
    ByteArrayOutputStream err = new ByteArrayOutputStream();
    Terminal terminal = writingTo(new ByteArrayOutputStream(), err, new Screen(true, true, 10));
    List<Long> now = new ArrayList<>(List.of(0L));
    try (ProgressLine line = new ProgressLine(terminal, () -> now.get(0))) {
      line.show("0123456789abc");
      line.work("w", 1, 3);
      line.work("suppressed", 2, 3);
      now.set(0, 200_000_000L);
      line.work("x", 3, 3);
    }
    terminal.finishLine();
    assertThat(err.toString(StandardCharsets.UTF_8))
        .isEqualTo("\r012345678\u001b[K\rw [######\u001b[K\rx [######\u001b[K\r\u001b[K");
    terminal.live("a");
    terminal.finishLine();
    assertThat(err.toString(StandardCharsets.UTF_8)).endsWith("\ra\u001b[K\n");
  }
}
