package dev.baton.client.testing;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import dev.baton.client.command.Baton;
import dev.baton.client.command.Shell;
import dev.baton.client.output.Terminal;
import dev.baton.client.output.Terminal.Screen;
import dev.baton.client.output.Terminal.Size;
import dev.baton.doctor.HttpProbe;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.net.ConnectException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/** Runs command lines against a {@link FakeCoordinator}. */
public final class Harness implements AutoCloseable {
  private static final ObjectMapper JSON = new ObjectMapper();

  public final FakeCoordinator coordinator = new FakeCoordinator();
  public final FakeTransfer transfer = new FakeTransfer();
  public final ManualTime time = new ManualTime();
  public final Map<String, String> environment = new HashMap<>();
  public Screen screen = Screen.NONE;
  public Size size = Size.USUAL;
  public String in = "";

  /** What is there on the web. */
  public final Map<String, HttpProbe.Answer> urls = new HashMap<>();

  /** What writing to standard output fails with. */
  public @Nullable String outFailure;

  /** What opening a channel fails with. */
  public @Nullable RuntimeException bug;

  /** Where each command sought the coordinator, with which token. */
  public final List<String> connections = new ArrayList<>();

  /** {@code home} holds the configuration. */
  public Harness(Path home) {
    environment.put("HOME", home.toString());
    environment.put("BATON_TOKEN", FakeCoordinator.TOKEN);
  }

  /** How a command ended. */
  public record Outcome(int code, String out, String err) {
    /** Standard output as JSON. */
    public JsonNode json() {
      return parse(out);
    }

    /** Standard output as one JSON value a line. */
    public List<JsonNode> jsonLines() {
      return out.lines().map(Outcome::parse).toList();
    }

    private static JsonNode parse(String text) {
      try {
        return JSON.readTree(text);
      } catch (JsonProcessingException e) {
        throw new AssertionError("no JSON: " + text, e);
      }
    }
  }

  public Outcome run(String... args) {
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    ByteArrayOutputStream err = new ByteArrayOutputStream();
    Shell shell =
        new Shell(
            new Terminal(
                outFailure == null ? out : new Failing(outFailure), err, screen, () -> size),
            new ByteArrayInputStream(in.getBytes(StandardCharsets.UTF_8)),
            environment,
            settings -> {
              if (bug != null) {
                throw bug;
              }
              connections.add(
                  settings.access().address()
                      + " "
                      + settings.access().pin()
                      + " "
                      + settings.access().secret());
              return coordinator.channel(settings.access().secret());
            },
            settings -> transfer,
            settings ->
                url -> {
                  HttpProbe.Answer answer = urls.get(url);
                  if (answer == null) {
                    throw new ConnectException("Connection refused");
                  }
                  return answer;
                },
            time);
    int code = Baton.run(shell, args);
    return new Outcome(
        code, out.toString(StandardCharsets.UTF_8), err.toString(StandardCharsets.UTF_8));
  }

  private static final class Failing extends OutputStream {
    private final String message;

    Failing(String message) {
      this.message = message;
    }

    @Override
    public void write(int b) throws IOException {
      throw new IOException(message);
    }
  }

  @Override
  public void close() {
    coordinator.close();
  }
}
