package dev.baton.client.command;

import dev.baton.client.connection.Connection;
import dev.baton.client.output.JsonObject;
import dev.baton.client.output.Units;
import dev.baton.v1.CreateTokenRequest;
import dev.baton.v1.CreateTokenResponse;
import java.time.Duration;
import java.util.Locale;
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
      footer = {"", "With -o json: {token, id, role, expires_at}; expires_at is null for never."})
  static final class Create extends Verb {
    enum Role {
      ADMIN,
      USER,
      WORKER
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
                      .setRole(role.name().toLowerCase(Locale.ROOT))
                      .setTtlSeconds(ttl == null ? 0 : ttl.toSeconds())
                      .build());
      terminal()
          .println(
              output.json()
                  ? new JsonObject()
                      .put("token", token.getToken())
                      .put("id", token.getId())
                      .put("role", token.getRole())
                      .put("expires_at", Units.isoTime(token.getExpiresAtMs()))
                      .toString()
                  : token.getToken());
      return ExitCodes.DONE;
    }
  }
}
