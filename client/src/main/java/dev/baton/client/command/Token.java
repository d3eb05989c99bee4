package dev.baton.client.command;

import dev.baton.client.connection.Connection;
import dev.baton.client.output.JsonObject;
import dev.baton.client.output.Units;
import dev.baton.rpc.Pin;
import dev.baton.rpc.TokenText;
import dev.baton.v1.CreateTokenRequest;
import dev.baton.v1.CreateTokenResponse;
import java.time.Duration;
import java.util.Locale;
import java.util.Optional;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Spec;

/** Makes tokens. */
@Command(name = "token", description = "Make tokens.", synopsisSubcommandLabel = "VERB")
final class Token extends VerbGroup {
  static CommandLine line(Baton baton) {
    return new CommandLine(new Token()).addSubcommand("create", new Create(baton));
  }

  /** Makes a token. */
  @Command(
      name = "create",
      description = "Make a token; it is shown this once, alone on the last line.",
      footer = {
        "",
        "For a worker the line is printed, too, that makes any machine one when it is pasted there.",
        "With -o json: {token, id, role, expires_at, join}; expires_at is null for never."
      })
  static final class Create extends Verb {
    enum Role {
      ADMIN,
      USER,
      WORKER;

      @Override
      public String toString() {
        return name().toLowerCase(Locale.ROOT);
      }
    }

    @Mixin private OutputFormat output = new OutputFormat();

    @Option(
        names = "--role",
        required = true,
        paramLabel = "admin|user|worker",
        description = "What it may do.")
    private Role role = Role.USER;

    @Option(
        names = "--ttl",
        paramLabel = "DURATION",
        converter = Durations.class,
        description = "How long it lives, as in 12h or 30d (default: for ever).")
    private @Nullable Duration ttl;

    @Spec private CommandSpec spec = CommandSpec.create();

    Create(Baton baton) {
      super(baton);
    }

    @Override
    int run(Connection connection) {
      if (ttl != null && ttl.toSeconds() < 1) {
        throw new ParameterException(spec.commandLine(), "--ttl: expected at least 1s");
      }
      CreateTokenResponse token =
          connection
              .admin()
              .createToken(
                  CreateTokenRequest.newBuilder()
                      .setRole(role.toString())
                      .setTtlSeconds(ttl == null ? 0 : ttl.toSeconds())
                      .build());
      Optional<String> join =
          role == Role.WORKER && !token.getHttpUrl().isEmpty()
              ? Optional.of(joinLine(token))
              : Optional.empty();
      if (output.json()) {
        terminal()
            .println(
                new JsonObject()
                    .put("token", token.getToken())
                    .put("id", token.getId())
                    .put("role", token.getRole())
                    .put("expires_at", Units.isoTime(token.getExpiresAtMs()))
                    .put("join", join.orElse(null))
                    .toString());
        return ExitCodes.DONE;
      }
      join.ifPresent(
          line -> {
            terminal().println("To make a machine a worker, paste there:");
            terminal().println("");
            terminal().println(line);
            terminal().println("");
            terminal().println("The token:");
          });
      terminal().println(token.getToken());
      return ExitCodes.DONE;
    }

    /** Downloads the script from none but the coordinator that this token is of, and runs it. */
    private static String joinLine(CreateTokenResponse token) {
      Optional<Pin> pin =
          TokenText.parse(token.getToken()).coordinator().map(TokenText.Origin::pin);
      String pinned =
          pin.filter(Pin::namesKey).map(key -> "k --pinnedpubkey " + key.curl()).orElse("");
      String url = token.getHttpUrl() + "/join";
      return "curl -fsSL"
          + pinned
          + " "
          // An IPv6 address's brackets mean something to a shell.
          + (url.contains("[") ? "'" + url + "'" : url)
          + " | sh -s -- "
          + (url.contains("[") ? "'" + token.getToken() + "'" : token.getToken());
    }
  }
}
