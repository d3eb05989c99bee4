package dev.baton.coordinator.objectstore;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.baton.coordinator.core.ObjectStore;
import dev.baton.coordinator.core.ObjectStoreException;
import java.net.URI;
import java.nio.file.Path;
import java.time.InstantSource;
import java.util.concurrent.atomic.AtomicInteger;
import org.gaul.s3proxy.S3Proxy;
import org.gaul.s3proxy.auth.AuthenticationType;
import org.gaul.s3proxy.nio2blob.FilesystemNio2BlobStore;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** A second s3proxy stands for somebody else's store. */
class ForeignS3Test extends ObjectStoreContract {
  private static final AtomicInteger BUCKETS = new AtomicInteger();

  @TempDir static Path storeDir;

  @SuppressWarnings("NullAway.Init") // by startStore
  private static S3Proxy server;

  @BeforeAll
  static void startStore() throws Exception {
    server =
        S3Proxy.builder()
            .blobStore(new FilesystemNio2BlobStore(storeDir.toString()))
            .endpoint(URI.create("http://127.0.0.1:0"))
            .awsAuthentication(AuthenticationType.AWS_V4, "ident", "secret")
            .build();
    server.start();
  }

  @AfterAll
  static void stopStore() throws Exception {
    server.stop();
  }

  private static S3Settings settings(String bucket, String secret) {
    return new S3Settings(
        "http://127.0.0.1:" + server.getPort(), "eu-west-1", bucket, "ident", secret);
  }

  @Override
  ObjectStore open(InstantSource clock) throws Exception {
    return ForeignS3.open(settings("trainings-" + BUCKETS.incrementAndGet(), "secret"), clock);
  }

  @Test
  void urlsNameItsOwnEndpoint() throws Exception {
    try (ObjectStore store = open(InstantSource.system())) {
      assertThat(store.presignGet("k", "coordinator.example").getUrl())
          .startsWith(
              "http://127.0.0.1:" + server.getPort() + "/trainings-" + BUCKETS.get() + "/k?");
    }
  }

  @Test
  void wrongCredentialsAreNamedAtTheStart() {
    assertThatThrownBy(() -> ForeignS3.open(settings("trainings", "guess"), InstantSource.system()))
        .isInstanceOf(ObjectStoreException.class)
        .hasMessageContaining("/trainings, looking for bucket trainings: ")
        .hasMessageNotContaining("guess");
  }

  @Test
  void anEndpointThatIsNotThereIsNamedAtTheStart() {
    S3Settings nowhere = new S3Settings("http://127.0.0.1:1", "us-east-1", "bucket", "a", "b");
    assertThatThrownBy(() -> ForeignS3.open(nowhere, InstantSource.system()))
        .isInstanceOf(ObjectStoreException.class)
        .hasMessageContaining("object store http://127.0.0.1:1/bucket")
        .hasMessageNotContaining("\n");
  }

  @Test
  void settingsAreChecked() {
    assertThatThrownBy(() -> new S3Settings("s3.example", "r", "bucket", "a", "b"))
        .hasMessage("endpoint 's3.example': expected http(s)://HOST[:PORT]");
    assertThatThrownBy(() -> new S3Settings("https://s3.example/x", "r", "bucket", "a", "b"))
        .hasMessageContaining("expected http(s)://HOST[:PORT]");
    assertThatThrownBy(() -> new S3Settings("https://s3.example", "r", "My_Bucket", "a", "b"))
        .hasMessageContaining("bucket 'My_Bucket'");
    assertThatThrownBy(() -> new S3Settings("https://s3.example", "", "bucket", "a", "b"))
        .hasMessageContaining("must not be empty");
    assertThat(new S3Settings("https://s3.example/", "r", "bucket", "a", "hidden"))
        .hasToString("https://s3.example/bucket");
  }
}
