package dev.baton.coordinator.objectstore;

import dev.baton.coordinator.core.ObjectStore;
import java.time.InstantSource;
import org.testcontainers.containers.GenericContainer;
import org.testcontainers.containers.wait.strategy.Wait;
import org.testcontainers.junit.jupiter.Container;
import org.testcontainers.junit.jupiter.Testcontainers;

/** A real MinIO, where Docker is at hand. */
@Testcontainers(disabledWithoutDocker = true)
class MinioTest extends ObjectStoreContract {
  @Container
  private static final GenericContainer<?> MINIO =
      new GenericContainer<>("minio/minio:RELEASE.2025-09-07T16-13-09Z")
          .withCommand("server", "/data")
          .withEnv("MINIO_ROOT_USER", "ident")
          .withEnv("MINIO_ROOT_PASSWORD", "secret-secret")
          .withExposedPorts(9000)
          .waitingFor(Wait.forHttp("/minio/health/ready").forPort(9000));

  @Override
  ObjectStore open(InstantSource clock) throws Exception {
    String endpoint = "http://" + MINIO.getHost() + ":" + MINIO.getMappedPort(9000);
    return ForeignS3.open(
        new S3Settings(endpoint, "us-east-1", "trainings", "ident", "secret-secret"), clock);
  }
}
