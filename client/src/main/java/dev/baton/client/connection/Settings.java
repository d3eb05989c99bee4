package dev.baton.client.connection;

import dev.baton.client.jobfile.FlatYaml;
import dev.baton.client.jobfile.JobFileException;
import dev.baton.rpc.Access;
import dev.baton.rpc.HostPort;
import dev.baton.rpc.Proxies;
import dev.baton.rpc.TokenText;
import dev.baton.transfer.FileProblems;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/**
 * Where the coordinator is and what it is shown. Flags win over the environment, which wins over
 * {@code ~/.config/baton/config.yaml}.
 *
 * @param proxies on the way to the coordinator and to the object store
 */
public record Settings(Access access, Proxies proxies) {
  /** Where a coordinator listens unless told otherwise. */
  public static final String DEFAULT_COORDINATOR = "127.0.0.1:7070";

  private static final List<String> KEYS = List.of("coordinator", "token", "token_file");

  /** What the command line says; null where it says nothing. */
  public record Flags(
      @Nullable String coordinator,
      @Nullable String token,
      @Nullable Path tokenFile,
      boolean insecure) {}

  /** Settings that cannot be used; one line that names where they come from. */
  public static final class InvalidException extends RuntimeException {
    private static final long serialVersionUID = 1L;

    InvalidException(String message) {
      super(message);
    }
  }

  /**
   * Puts together what flags, environment and configuration file say.
   *
   * @throws InvalidException where a file cannot be read, or a value makes no sense
   */
  public static Settings resolve(Flags flags, Map<String, String> environment) {
    Path configFile = configFile(environment);
    Map<String, String> config = read(configFile);
    @Nullable String named =
        first(flags.coordinator(), environment.get("BATON_COORDINATOR"), config.get("coordinator"));
    Optional<HostPort> address = Optional.empty();
    try {
      address = Optional.ofNullable(named).map(HostPort::parse);
    } catch (IllegalArgumentException e) {
      throw new InvalidException("the coordinator's address " + e.getMessage());
    }
    String text = token(flags, environment, config, configFile);
    try {
      TokenText token = TokenText.parse(text);
      if (token.coordinator().isEmpty() && address.isEmpty()) {
        address = Optional.of(HostPort.parse(DEFAULT_COORDINATOR));
      }
      return new Settings(Access.of(token, address, flags.insecure()), Proxies.of(environment));
    } catch (IllegalArgumentException e) {
      throw new InvalidException(String.valueOf(e.getMessage()));
    }
  }

  private static String token(
      Flags flags, Map<String, String> environment, Map<String, String> config, Path configFile) {
    if (flags.token() != null && flags.tokenFile() != null) {
      throw new InvalidException("--token and --token-file exclude each other; give one");
    }
    if (flags.tokenFile() != null) {
      return tokenIn(flags.tokenFile());
    }
    String token = flags.token();
    if (token == null) {
      token = nonEmpty(environment.get("BATON_TOKEN"));
    }
    if (token == null) {
      token = config.get("token");
      String file = config.get("token_file");
      if (token != null && file != null) {
        throw new InvalidException(
            configFile + ": token and token_file exclude each other; give one");
      }
      if (file != null) {
        return tokenIn(configFile.resolveSibling(file));
      }
    }
    if (token == null) {
      throw new InvalidException(
          "no token: give --token-file FILE, set BATON_TOKEN, or write token_file: FILE to "
              + configFile
              + " (the coordinator's first start writes one to admin.token in its data folder)");
    }
    return token.strip();
  }

  private static String tokenIn(Path file) {
    try {
      String token = Files.readString(file, StandardCharsets.UTF_8).strip();
      if (token.isEmpty()) {
        throw new InvalidException("the token file " + file + " is empty");
      }
      return token;
    } catch (IOException e) {
      throw new InvalidException("cannot read the token file " + FileProblems.describe(file, e));
    }
  }

  /** Where the configuration file is, if there is one. */
  public static Path configFile(Map<String, String> environment) {
    String xdg = nonEmpty(environment.get("XDG_CONFIG_HOME"));
    Path folder =
        xdg != null
            ? Path.of(xdg)
            : Path.of(environment.getOrDefault("HOME", System.getProperty("user.home")), ".config");
    return folder.resolve("baton").resolve("config.yaml");
  }

  private static Map<String, String> read(Path file) {
    try {
      return FlatYaml.read(file.toString(), Files.readAllBytes(file), KEYS);
    } catch (NoSuchFileException e) {
      return Map.of();
    } catch (JobFileException e) {
      throw new InvalidException(String.valueOf(e.getMessage()));
    } catch (IOException e) {
      throw new InvalidException("cannot read " + FileProblems.describe(file, e));
    }
  }

  private static @Nullable String first(@Nullable String... values) {
    for (String value : values) {
      if (value != null && !value.isEmpty()) {
        return value;
      }
    }
    return null;
  }

  private static @Nullable String nonEmpty(@Nullable String value) {
    return value == null || value.isBlank() ? null : value;
  }
}
