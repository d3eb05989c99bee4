package dev.baton.doctor;

import dev.baton.doctor.HttpProbe.Answer;
import dev.baton.rpc.Access;
import dev.baton.rpc.Proxies;
import dev.baton.rpc.TrustProblems;
import dev.baton.v1.AdminServiceGrpc;
import dev.baton.v1.CoordinatorInfo;
import dev.baton.v1.GetInfoRequest;
import io.grpc.Channel;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import java.io.IOException;
import java.net.InetAddress;
import java.net.UnknownHostException;
import java.time.Duration;
import java.time.Instant;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.TimeUnit;
import java.util.function.LongSupplier;

/** Whether a coordinator can be reached, trusted and used with a token, from this machine. */
public final class CoordinatorChecks {
  private static final Duration PATIENCE = Duration.ofSeconds(5);
  private static final Duration SOON = Duration.ofDays(7);
  private static final Duration CLOCK_WARNING = Duration.ofSeconds(30);
  // S3 refuses requests that were signed by a clock so far away.
  private static final Duration CLOCK_FAILURE = Duration.ofMinutes(15);

  private final Diagnosis diagnosis;
  private final Access access;
  private final Caller caller;
  private final LongSupplier nowMs;

  /**
   * Who asks.
   *
   * @param version of its program
   * @param protocol that it speaks with the coordinator; 0: it does not matter
   * @param roles of which its token must have one
   */
  public record Caller(String version, int protocol, Set<String> roles) {}

  /**
   * @param nowMs this machine's clock, milliseconds since the epoch
   */
  public CoordinatorChecks(Diagnosis diagnosis, Access access, Caller caller, LongSupplier nowMs) {
    this.diagnosis = diagnosis;
    this.access = access;
    this.caller = caller;
    this.nowMs = nowMs;
  }

  /**
   * The way there: the proxy, and the host's address.
   *
   * @return false where there is none
   */
  public boolean way(Proxies proxies) {
    String host = access.address().host();
    Optional<String> proxy;
    try {
      proxy = proxies.nameOf(access.pin().tls(), host);
    } catch (IllegalArgumentException e) {
      diagnosis.fail("proxy", String.valueOf(e.getMessage()));
      return false;
    }
    if (proxy.isPresent()) {
      diagnosis.ok(
          "proxy",
          proxy.get() + " is on the way to " + host + "; NO_PROXY names hosts that need none");
      return true;
    }
    try {
      InetAddress found = InetAddress.getByName(host);
      diagnosis.ok("address", access.address() + " is " + found.getHostAddress());
      return true;
    } catch (UnknownHostException e) {
      diagnosis.fail(
          "address",
          "the host "
              + host
              + " is unknown here; is it spelt right? --coordinator HOST:PORT names another address"
              + " of the same coordinator");
      return false;
    }
  }

  /**
   * gRPC, TLS, the token, clocks and versions.
   *
   * @return what the coordinator says; empty where it does not
   */
  public Optional<CoordinatorInfo> call(Channel channel) {
    CoordinatorInfo info;
    long before;
    try {
      var unused = ask(channel);
      // Once more, for the clocks: the first took as long as it takes to connect.
      before = nowMs.getAsLong();
      info = ask(channel);
    } catch (StatusRuntimeException e) {
      refused(e);
      return Optional.empty();
    }
    long after = nowMs.getAsLong();
    reached();
    token(info, after);
    clock(info, (before + after) / 2);
    versions(info);
    return Optional.of(info);
  }

  private static CoordinatorInfo ask(Channel channel) {
    return AdminServiceGrpc.newBlockingStub(channel)
        .withDeadlineAfter(PATIENCE.toMillis(), TimeUnit.MILLISECONDS)
        .getInfo(GetInfoRequest.getDefaultInstance());
  }

  private void reached() {
    diagnosis.ok("grpc", access.address() + " answers");
    if (!access.pin().tls()) {
      if (Access.isLoopback(access.address().host())) {
        diagnosis.ok("tls", "not encrypted, on this machine alone");
      } else {
        diagnosis.warn(
            "tls",
            "nothing is encrypted: everybody on the way can read the token; start the coordinator"
                + " without --insecure and make tokens anew");
      }
    } else {
      diagnosis.ok(
          "tls",
          access.pin().namesKey()
              ? "it has the key that the token names"
              : "its certificate is one that this machine trusts");
    }
  }

  private void refused(StatusRuntimeException e) {
    Optional<String> notTrusted = TrustProblems.describe(e, access);
    if (notTrusted.isPresent()) {
      diagnosis.fail("tls", notTrusted.get());
      return;
    }
    Status status = e.getStatus();
    String said = String.valueOf(status.getDescription());
    switch (status.getCode()) {
      case UNAVAILABLE, DEADLINE_EXCEEDED ->
          diagnosis.fail(
              "grpc",
              access.address()
                  + (status.getCode() == Status.Code.UNAVAILABLE
                      ? " cannot be reached (" + deepest(e, said) + ")"
                      : " does not answer within " + PATIENCE.toSeconds() + " s")
                  + "; does the coordinator run, does it listen beyond its own machine (--listen"
                  + " 0.0.0.0:PORT), and does every firewall let TCP port "
                  + access.address().port()
                  + " through?");
      case UNAUTHENTICATED -> {
        reached();
        diagnosis.fail("token", said + "; 'baton token create' makes one");
      }
      case UNIMPLEMENTED -> {
        reached();
        diagnosis.warn(
            "version",
            "the coordinator is older than this program; install the same release on both");
      }
      default -> diagnosis.fail("grpc", status.getCode() + ": " + said);
    }
  }

  private static String deepest(Throwable e, String otherwise) {
    String deepest = otherwise;
    for (Throwable cause = e.getCause(); cause != null; cause = cause.getCause()) {
      deepest = cause.getMessage() == null ? deepest : cause.getMessage();
    }
    // Netty's "finishConnect(..) failed with error(-111): Connection refused".
    return deepest.replaceFirst("^\\w+\\(\\.\\.\\) failed[^:]*: ", "");
  }

  private void token(CoordinatorInfo info, long now) {
    String whose = "token " + info.getTokenId() + " has role " + info.getRole();
    if (!caller.roles().contains(info.getRole())) {
      diagnosis.fail(
          "token",
          whose
              + ", which cannot be used here; make one with 'baton token create --role "
              + (caller.roles().contains("user") ? "user" : "worker")
              + "'");
      return;
    }
    long expires = info.getTokenExpiresAtMs();
    if (expires == 0) {
      diagnosis.ok("token", whose + " and never expires");
    } else if (expires - now < SOON.toMillis()) {
      diagnosis.warn(
          "token", whose + " and expires at " + Instant.ofEpochMilli(expires) + "; make a new one");
    } else {
      diagnosis.ok("token", whose + " and expires at " + Instant.ofEpochMilli(expires));
    }
  }

  private void clock(CoordinatorInfo info, long now) {
    long apart = now - info.getTimeMs();
    long size = Math.abs(apart);
    String line =
        String.format(
            java.util.Locale.ROOT,
            "this machine's clock is %.1f s %s the coordinator's",
            size / 1e3,
            apart < 0 ? "behind" : "ahead of");
    String cure = "; set both by NTP (timedatectl set-ntp true)";
    if (size >= CLOCK_FAILURE.toMillis()) {
      diagnosis.fail("clock", line + cure);
    } else if (size >= CLOCK_WARNING.toMillis()) {
      diagnosis.warn("clock", line + cure);
    } else {
      diagnosis.ok("clock", line);
    }
  }

  private void versions(CoordinatorInfo info) {
    if (caller.protocol() != 0 && caller.protocol() != info.getProtocol()) {
      diagnosis.fail(
          "version",
          "this program speaks protocol "
              + caller.protocol()
              + ", the coordinator "
              + info.getProtocol()
              + "; install the same release on both");
    } else if (!caller.version().equals(info.getVersion())) {
      diagnosis.warn(
          "version",
          "this is "
              + caller.version()
              + ", the coordinator "
              + info.getVersion()
              + "; install the same release on both");
    } else {
      diagnosis.ok("version", "both are " + info.getVersion());
    }
  }

  /** HTTP, where machines join and browsers look. */
  public void http(CoordinatorInfo info, HttpProbe probe) throws InterruptedException {
    String url = info.getHttpUrl();
    String without = "; without it machines cannot join from here ('curl .../join'), jobs do run";
    if (url.isEmpty()) {
      diagnosis.warn(
          "http", "HTTP is served on the coordinator's own machine alone (--http)" + without);
      return;
    }
    try {
      Answer answer = probe.get(url + "/healthz");
      if (answer.status() == 200) {
        diagnosis.ok("http", url + " answers");
      } else {
        diagnosis.warn("http", url + "/healthz answers " + answer.status() + without);
      }
    } catch (IOException e) {
      diagnosis.warn("http", url + " cannot be reached (" + reason(e) + ")" + without);
    }
  }

  /** The object store, by a URL as transfers get it: of an object that does not exist. */
  public void objects(CoordinatorInfo info, HttpProbe probe) throws InterruptedException {
    String url = info.getProbe().getUrl();
    String where = url.replaceFirst("^(https?://[^/]+).*$", "$1");
    try {
      Answer answer = probe.get(url);
      // A store that lists nothing for its bearer says 403 of what does not exist.
      boolean reached =
          answer.status() == 404
              || (answer.status() == 403 && answer.body().contains("<Code>AccessDenied</Code>"));
      if (reached) {
        diagnosis.ok("objects", where + " answers, and takes the coordinator's signature");
      } else {
        diagnosis.fail(
            "objects",
            where
                + " answers "
                + answer.status()
                + " "
                + answer.body().replaceFirst("(?s)^.*<Message>([^<]*)</Message>.*$", "$1")
                + "; is something else there, or a proxy in between that changes requests?");
      }
    } catch (IOException e) {
      diagnosis.fail(
          "objects",
          "the object store at "
              + where
              + " cannot be reached ("
              + reason(e)
              + "); start the coordinator with an --objects address, and --advertise HOST, that can"
              + " be reached from here, and let the port through every firewall");
    }
  }

  private static String reason(IOException e) {
    Throwable deepest = e;
    while (deepest.getCause() != null) {
      deepest = deepest.getCause();
    }
    // java.nio's, for a name that nobody knows.
    if (deepest.getClass().getSimpleName().equals("UnresolvedAddressException")) {
      return "its host is unknown here";
    }
    return deepest.getMessage() == null
        ? deepest.getClass().getSimpleName().replaceAll("Exception$", "")
        : deepest.getMessage();
  }
}
