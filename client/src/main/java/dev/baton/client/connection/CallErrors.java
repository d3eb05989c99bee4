package dev.baton.client.connection;

import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import org.jspecify.annotations.Nullable;

/** Says in one line why a call failed. */
public final class CallErrors {
  private CallErrors() {}

  /** {@code coordinator} is where it was sought. */
  public static String describe(StatusRuntimeException e, String coordinator) {
    Status status = e.getStatus();
    String said = status.getDescription() == null ? "" : oneLine(status.getDescription());
    return switch (status.getCode()) {
      case UNAVAILABLE ->
          "cannot reach the coordinator at " + coordinator + ": " + cause(status, said);
      case DEADLINE_EXCEEDED -> "the coordinator at " + coordinator + " did not answer in time";
      case UNAUTHENTICATED ->
          "the coordinator at " + coordinator + " refused the token" + after(said);
      case PERMISSION_DENIED -> "the token's role does not allow this" + after(said);
      case UNIMPLEMENTED ->
          "the coordinator at "
              + coordinator
              + " does not know this call; is it older than this client?";
      case INVALID_ARGUMENT, NOT_FOUND, FAILED_PRECONDITION, ALREADY_EXISTS, RESOURCE_EXHAUSTED ->
          said.isEmpty() ? status.getCode().toString() : said;
      default -> status.getCode() + after(said);
    };
  }

  private static String cause(Status status, String said) {
    @Nullable String deepest = null;
    for (Throwable cause = status.getCause(); cause != null; cause = cause.getCause()) {
      if (cause.getMessage() != null) {
        // Netty's "finishConnect(..) failed with error(-111): Connection refused".
        deepest = oneLine(cause.getMessage()).replaceFirst("^\\w+\\(\\.\\.\\) failed[^:]*: ", "");
      }
    }
    boolean saysNothing = said.isEmpty() || said.equals("io exception");
    String text = !saysNothing ? said : deepest == null ? "connection lost" : deepest;
    // Netty's insides.
    return text.replaceFirst(" Channel Pipeline: \\[.*$", "");
  }

  private static String after(String said) {
    return said.isEmpty() ? "" : ": " + said;
  }

  private static String oneLine(String text) {
    return text.strip().replaceAll("\\s+", " ");
  }
}
