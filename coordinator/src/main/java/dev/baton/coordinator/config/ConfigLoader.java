package dev.baton.coordinator.config;

import com.fasterxml.jackson.core.JacksonException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.dataformat.yaml.YAMLMapper;
import dev.baton.coordinator.core.LeasePolicy;
import dev.baton.quantity.Quantities;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Optional;
import java.util.function.UnaryOperator;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;

/**
 * Reads the configuration file. Values may name environment variables as {@code ${NAME}}. An
 * unknown key, a wrong type and an unset variable end the start with the key's name.
 */
public final class ConfigLoader {
  private static final Pattern VARIABLE = Pattern.compile("\\$\\{([A-Za-z_][A-Za-z0-9_]*)}");

  private final UnaryOperator<@Nullable String> environment;

  /**
   * @param environment the value of a variable, or null
   */
  public ConfigLoader(UnaryOperator<@Nullable String> environment) {
    this.environment = environment;
  }

  /** What {@code file} says. */
  public FileConfig load(Path file) {
    JsonNode root;
    try {
      root = new YAMLMapper().readTree(Files.readString(file));
    } catch (JacksonException e) {
      throw new ConfigException(
          file + ": not YAML: " + e.getOriginalMessage().lines().findFirst().orElse("damaged"));
    } catch (IOException e) {
      throw new ConfigException(file + ": cannot be read: " + DataDir.reason(e));
    }
    if (root.isMissingNode() || root.isNull()) {
      return FileConfig.DEFAULT;
    }
    try {
      var top = new Section("", root);
      var config =
          new FileConfig(
              top.section("objects").map(this::objects),
              top.section("lease").map(this::lease).orElse(LeasePolicy.DEFAULT),
              top.section("tls").map(section -> certificate(section, file)));
      top.refuseUnknownKeys();
      return config;
    } catch (ConfigException e) {
      throw new ConfigException(file + ": " + e.getMessage());
    }
  }

  private ForeignStore objects(Section section) {
    var store =
        new ForeignStore(
            text(section, "endpoint"),
            text(section, "bucket"),
            optionalText(section, "region").orElse("us-east-1"),
            text(section, "access_key"),
            text(section, "secret_key"));
    section.refuseUnknownKeys();
    return store;
  }

  private CertificateFiles certificate(Section section, Path file) {
    // Relative to the file that names them.
    var files =
        new CertificateFiles(
            file.resolveSibling(text(section, "cert")), file.resolveSibling(text(section, "key")));
    section.refuseUnknownKeys();
    return files;
  }

  private LeasePolicy lease(Section section) {
    var standard = LeasePolicy.DEFAULT;
    Duration heartbeat = duration(section, "heartbeat").orElse(standard.heartbeat());
    Duration length = duration(section, "lease").orElse(standard.lease());
    Duration grace = duration(section, "grace").orElse(standard.grace());
    section.refuseUnknownKeys();
    try {
      return new LeasePolicy(heartbeat, length, grace);
    } catch (IllegalArgumentException e) {
      throw new ConfigException(String.valueOf(e.getMessage()));
    }
  }

  private String text(Section section, String key) {
    return optionalText(section, key)
        .orElseThrow(() -> new ConfigException(section.path(key) + ": is missing"));
  }

  private Optional<String> optionalText(Section section, String key) {
    return section.value(key).map(value -> expand(section.path(key), value));
  }

  private Optional<Duration> duration(Section section, String key) {
    return optionalText(section, key)
        .map(
            text ->
                Quantities.duration(text)
                    .orElseThrow(
                        () ->
                            new ConfigException(
                                section.path(key)
                                    + ": '"
                                    + text
                                    + "' is not a duration such as 500ms, 3s or 2m")));
  }

  private String expand(String path, String text) {
    return VARIABLE
        .matcher(text)
        .replaceAll(
            match -> {
              String value = environment.apply(match.group(1));
              if (value == null) {
                throw new ConfigException(
                    path + ": the environment variable " + match.group(1) + " is not set");
              }
              return Matcher.quoteReplacement(value);
            });
  }
}
