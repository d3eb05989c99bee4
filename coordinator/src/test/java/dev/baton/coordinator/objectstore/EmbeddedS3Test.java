package dev.baton.coordinator.objectstore;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.baton.coordinator.config.DataDir;
import dev.baton.coordinator.core.ObjectKeys;
import dev.baton.coordinator.core.ObjectStore;
import dev.baton.coordinator.core.ObjectStoreException;
import dev.baton.coordinator.core.ObjectStoreException.Kind;
import dev.baton.coordinator.tls.ServerIdentity;
import dev.baton.rpc.HostPort;
import dev.baton.rpc.PinnedTrust;
import dev.baton.transfer.Contents;
import dev.baton.v1.PresignedRequest;
import dev.baton.v1.UploadContent;
import dev.baton.v1.UploadPart;
import java.io.IOException;
import java.net.ServerSocket;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.FileTime;
import java.nio.file.attribute.PosixFilePermissions;
import java.time.Instant;
import java.time.InstantSource;
import java.util.List;
import java.util.Optional;
import java.util.UUID;
import java.util.stream.Stream;
import javax.net.ssl.SSLException;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class EmbeddedS3Test extends ObjectStoreContract {
  private static final HostPort ANY = new HostPort("127.0.0.1", 0);

  @TempDir Path dataDir;

  @Override
  ObjectStore open(InstantSource clock) throws Exception {
    return EmbeddedS3.start(dataDir, ANY, Optional.empty(), clock);
  }

  @Test
  void urlsNameTheHostThatTheCallerKnows() throws Exception {
    try (EmbeddedS3 store =
        EmbeddedS3.start(dataDir, ANY, Optional.empty(), InstantSource.system())) {
      assertThat(store.presignGet("k", "gpu.example").getUrl())
          .startsWith("http://gpu.example:" + store.port() + "/baton/k?");
      assertThat(store.presignGet("k", "::1").getUrl())
          .startsWith("http://[::1]:" + store.port() + "/baton/k?");
    }
  }

  @Test
  void itListensWhereItIsTold() throws Exception {
    try (EmbeddedS3 store =
        EmbeddedS3.start(
            dataDir, new HostPort("0.0.0.0", 0), Optional.empty(), InstantSource.system())) {
      store.put("k", new byte[] {1});
      assertThat(status(store.presignGet("k", "127.0.0.1").getUrl())).isEqualTo(200);
    }
  }

  @Test
  void withAKeyItSpeaksTlsAndNothingElse() throws Exception {
    ServerIdentity identity;
    try (DataDir data = DataDir.open(dataDir)) {
      identity = ServerIdentity.own(data, List.of(), InstantSource.system());
    }
    try (EmbeddedS3 store =
        EmbeddedS3.start(dataDir, ANY, Optional.of(identity), InstantSource.system())) {
      // By the store's own client, which trusts the key as well.
      store.put("k", new byte[] {1, 2, 3});
      String url = store.presignGet("k", "127.0.0.1").getUrl();
      assertThat(url).startsWith("https://127.0.0.1:" + store.port() + "/baton/k?");
      HttpRequest request = HttpRequest.newBuilder(URI.create(url)).build();
      byte[] bytes =
          HttpClient.newBuilder()
              .sslContext(PinnedTrust.of(identity.pin(), "127.0.0.1").context())
              .build()
              .send(request, BodyHandlers.ofByteArray())
              .body();
      assertThat(bytes).containsExactly(1, 2, 3);
      assertThatThrownBy(() -> HttpClient.newHttpClient().send(request, BodyHandlers.discarding()))
          .as("without the key")
          .isInstanceOf(SSLException.class);
      assertThatThrownBy(() -> status(url.replace("https:", "http:")))
          .as("without TLS")
          .isInstanceOf(IOException.class);
    }
  }

  private static int status(String url) throws Exception {
    return HttpClient.newHttpClient()
        .send(HttpRequest.newBuilder(URI.create(url)).build(), BodyHandlers.discarding())
        .statusCode();
  }

  @Test
  void objectsAndUrlsOutliveARestart() throws Exception {
    String url;
    int port;
    try (EmbeddedS3 store =
        EmbeddedS3.start(dataDir, ANY, Optional.empty(), InstantSource.system())) {
      store.put("k", new byte[] {1});
      url = store.presignGet("k", "127.0.0.1").getUrl();
      port = store.port();
    }
    try (EmbeddedS3 store =
        EmbeddedS3.start(
            dataDir, new HostPort("127.0.0.1", port), Optional.empty(), InstantSource.system())) {
      assertThat(store.stat("k")).isPresent();
      assertThat(status(url)).isEqualTo(200);
    }
  }

  @Test
  void theCredentialsAreTheOwnersAlone() throws Exception {
    Path file = dataDir.resolve("objects.key");
    assertThat(PosixFilePermissions.toString(Files.getPosixFilePermissions(file)))
        .isEqualTo("rw-------");
    String first = Files.readString(file);
    Path other = Files.createDirectory(dataDir.resolve("other"));
    EmbeddedS3.start(other, ANY, Optional.empty(), InstantSource.system()).close();
    assertThat(Files.readString(other.resolve("objects.key"))).isNotEqualTo(first);

    Files.writeString(file, "half");
    assertThatThrownBy(
            () -> EmbeddedS3.start(dataDir, ANY, Optional.empty(), InstantSource.system()))
        .hasMessageContaining("objects.key is damaged");
  }

  @Test
  void aPortInUseIsNamed() throws Exception {
    try (ServerSocket taken = new ServerSocket(0)) {
      HostPort there = new HostPort("127.0.0.1", taken.getLocalPort());
      assertThatThrownBy(
              () -> EmbeddedS3.start(dataDir, there, Optional.empty(), InstantSource.system()))
          .isInstanceOf(ObjectStoreException.class)
          .hasMessageContaining("cannot listen on " + there)
          .hasMessageContaining("in use");
    }
  }

  @Test
  void anUploadThatTheDiskCannotHoldIsRefusedAtItsBeginning() throws Exception {
    UploadContent huge =
        UploadContent.newBuilder()
            .setBytes(1L << 60)
            .addParts(UploadPart.newBuilder().setBytes(1L << 60))
            .build();
    try (EmbeddedS3 store =
        EmbeddedS3.start(dataDir, ANY, Optional.empty(), InstantSource.system())) {
      assertThatThrownBy(() -> store.beginUpload("k", huge))
          .isInstanceOfSatisfying(
              ObjectStoreException.class, e -> assertThat(e.kind()).isEqualTo(Kind.NO_SPACE))
          .hasMessageContaining("no space left on the coordinator's disk")
          .hasMessageContaining("bytes free");
    }
  }

  @Test
  void aFailureOnAFullDiskSaysSo() throws Exception {
    long allOfIt = 1L << 60;
    try (EmbeddedS3 store =
        EmbeddedS3.start(dataDir, ANY, Optional.empty(), InstantSource.system(), allOfIt)) {
      store.put("whatfits", new byte[1]);
      // Makes the server fail.
      Files.createFile(dataDir.resolve("objects/baton/jobs"));
      assertThatThrownBy(() -> store.put("jobs/j", new byte[1]))
          .isInstanceOfSatisfying(
              ObjectStoreException.class, e -> assertThat(e.kind()).isEqualTo(Kind.NO_SPACE))
          .hasMessageContaining("no space left on the coordinator's disk: writing jobs/j failed");
    }
    try (EmbeddedS3 store =
        EmbeddedS3.start(dataDir, ANY, Optional.empty(), InstantSource.system())) {
      assertThatThrownBy(() -> store.put("jobs/j", new byte[1]))
          .isInstanceOfSatisfying(
              ObjectStoreException.class, e -> assertThat(e.kind()).isEqualTo(Kind.UNAVAILABLE));
    }
  }

  @Test
  void theSweepTakesWhatACrashLeftHalfWritten() throws Exception {
    String key = ObjectKeys.forJob("j", 1);
    Path job = Files.createDirectories(dataDir.resolve("objects/baton/jobs/j/1"));
    Path torn = Files.createFile(job.resolve(key.substring(9) + "-" + UUID.randomUUID()));
    Files.setLastModifiedTime(torn, FileTime.from(Instant.now().minusSeconds(5)));
    try (EmbeddedS3 store =
        EmbeddedS3.start(dataDir, ANY, Optional.empty(), InstantSource.system())) {
      store.put(key, new byte[] {1});
      // Young: the server may be writing it.
      Path writing = Files.createFile(job.resolve(key.substring(9) + "-" + UUID.randomUUID()));
      Files.setLastModifiedTime(writing, FileTime.from(Instant.now().plusSeconds(5)));
      assertThat(store.sweep(Instant.now().minusSeconds(60), any -> true)).isEqualTo(1);
      assertThat(torn).doesNotExist();
      assertThat(writing).exists();
      assertThat(store.stat(key)).isPresent();
    }
  }

  @Test
  void theSweepTakesUploadsThatNobodyFinished() throws Exception {
    byte[] part = new byte[5 << 20];
    Path file = Files.write(dataDir.resolve("file"), new byte[part.length + 1]);
    UploadContent content = Contents.describe(file, part.length);
    try (EmbeddedS3 store =
        EmbeddedS3.start(dataDir, ANY, Optional.empty(), InstantSource.system())) {
      String key = ObjectKeys.forJob("j", 1);
      String id = store.beginUpload(key, content);
      PresignedRequest request = store.presignUpload(key, id, content, "127.0.0.1").get(0);
      HttpRequest.Builder put =
          HttpRequest.newBuilder(URI.create(request.getUrl()))
              .PUT(HttpRequest.BodyPublishers.ofByteArray(part));
      request.getHeadersMap().forEach(put::setHeader);
      HttpClient http = HttpClient.newHttpClient();
      assertThat(http.send(put.build(), BodyHandlers.discarding()).statusCode()).isEqualTo(200);
      assertThat(store.sweep(Instant.now().minusSeconds(60), any -> true)).isZero();
      assertThat(store.sweep(Instant.now().plusSeconds(60), any -> true)).isPositive();
      try (Stream<Path> left = Files.list(dataDir.resolve("objects/baton"))) {
        assertThat(left).isEmpty();
      }
    }
  }

  @Test
  void aCommitReadsWhatIsOnTheDisk() throws Exception {
    Path file = Files.write(dataDir.resolve("file"), new byte[1000]);
    UploadContent content = Contents.describe(file);
    try (EmbeddedS3 store =
        EmbeddedS3.start(dataDir, ANY, Optional.empty(), InstantSource.system())) {
      store.put("k", Files.readAllBytes(file));
      store.commit("k", "", content, List.of());
      byte[] damaged = new byte[1000];
      damaged[500] = 1;
      Files.write(dataDir.resolve("objects/baton/k"), damaged);
      assertThatThrownBy(() -> store.commit("k", "", content, List.of()))
          .hasMessageContaining("object k is not what was promised");
    }
  }

  /** The server takes what everybody on this machine may read for public. */
  @Test
  void nothingIsPublic() throws Exception {
    try (EmbeddedS3 store =
        EmbeddedS3.start(dataDir, ANY, Optional.empty(), InstantSource.system())) {
      store.put("k", new byte[] {1});
      Path bucket = dataDir.resolve("objects/baton");
      Files.setPosixFilePermissions(bucket, PosixFilePermissions.fromString("rwxrwxrwx"));
      Files.setPosixFilePermissions(
          bucket.resolve("k"), PosixFilePermissions.fromString("rw-rw-rw-"));
      String server = "http://127.0.0.1:" + store.port() + "/";
      assertThat(status(server)).isEqualTo(403);
      assertThat(status(server + "baton")).isEqualTo(403);
      assertThat(status(server + "baton/k")).isEqualTo(403);
      HttpRequest put =
          HttpRequest.newBuilder(URI.create(server + "baton/other"))
              .PUT(HttpRequest.BodyPublishers.ofString("x"))
              .build();
      assertThat(HttpClient.newHttpClient().send(put, BodyHandlers.discarding()).statusCode())
          .isEqualTo(403);
      assertThat(PosixFilePermissions.toString(Files.getPosixFilePermissions(bucket.getParent())))
          .isEqualTo("rwx------");
    }
  }
}
