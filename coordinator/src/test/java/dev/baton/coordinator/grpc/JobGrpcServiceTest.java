package dev.baton.coordinator.grpc;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.baton.coordinator.core.ArtifactRecord;
import dev.baton.coordinator.core.CoordinatorException;
import dev.baton.coordinator.core.End;
import dev.baton.coordinator.core.Failures;
import dev.baton.coordinator.core.Job;
import dev.baton.coordinator.core.JobState;
import dev.baton.coordinator.core.KindHistory;
import dev.baton.coordinator.core.LeasePolicy;
import dev.baton.coordinator.core.Now;
import dev.baton.coordinator.core.ObjectStore;
import dev.baton.coordinator.core.ObjectStoreException;
import dev.baton.coordinator.core.ObjectStoreException.Kind;
import dev.baton.coordinator.core.Reads;
import dev.baton.coordinator.core.Scheduler;
import dev.baton.coordinator.core.Stores;
import dev.baton.coordinator.core.Submission;
import dev.baton.coordinator.housekeeping.Reports;
import dev.baton.coordinator.loop.CoreLoop;
import dev.baton.coordinator.objectstore.EmbeddedS3;
import dev.baton.coordinator.testing.ForwardingObjectStore;
import dev.baton.coordinator.testing.InMemoryStores;
import dev.baton.coordinator.testing.QuietBinding;
import dev.baton.rpc.HostPort;
import dev.baton.v1.Artifact;
import dev.baton.v1.DownloadArtifactRequest;
import dev.baton.v1.DownloadTicket;
import dev.baton.v1.JobRequest;
import dev.baton.v1.JobSpec;
import dev.baton.v1.ListArtifactsResponse;
import dev.baton.v1.MetricPoint;
import dev.baton.v1.Progress;
import io.grpc.Status;
import java.io.File;
import java.nio.file.Path;
import java.time.InstantSource;
import java.util.List;
import java.util.Optional;
import java.util.Random;
import java.util.function.Function;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** A job that has ended, whose reports find no room in the object store. */
final class JobGrpcServiceTest {
  private static final String JOB = "j";

  @TempDir Path dir;

  private final InMemoryStores database = new InMemoryStores();
  private final Stores stores = database.stores();

  @SuppressWarnings("NullAway.Init") // by open
  private ObjectStore full;

  @SuppressWarnings("NullAway.Init") // by open
  private JobGrpcService service;

  @BeforeEach
  void open() throws Exception {
    database.begin();
    Job submitted =
        Job.submitted(JOB, new Submission(1, "request", JobSpec.getDefaultInstance(), "digest", 1));
    assertThat(stores.jobs().insert(submitted)).isTrue();
    assertThat(stores.jobs().update(ended(submitted), submitted.fence())).isTrue();
    stores.jobs().putMetrics(JOB, List.of(point(1), point(2), point(3)));
    stores.jobs().putArtifact(new ArtifactRecord(JOB, "model.pth", 3, "sha", "jobs/j/1/k", 5));
    database.commit();
    full =
        new ForwardingObjectStore(
            EmbeddedS3.start(
                dir, new HostPort("127.0.0.1", 0), Optional.empty(), InstantSource.system())) {
          @Override
          public void put(String key, File file, String sha256) throws ObjectStoreException {
            throw new ObjectStoreException(Kind.NO_SPACE, "no space left");
          }
        };
    var reads =
        new Reads() {
          @Override
          public <T> T read(Function<Stores, T> query) {
            return query.apply(stores);
          }
        };
    var loop =
        new CoreLoop<>(
            database,
            new Scheduler(stores, LeasePolicy.DEFAULT, new Random(1)),
            new QuietBinding(),
            () -> new Now(0, 0),
            () -> {});
    service =
        new JobGrpcService(
            loop,
            new Transfers(loop, full, Runnable::run, new UrlHost(Optional.empty(), "127.0.0.1")),
            new Watchers(),
            new EventLog(),
            new LogFollowers(),
            reads,
            Runnable::run,
            new Reports(loop, stores, reads, full, Runnable::run)::write);
  }

  private static Job ended(Job job) {
    return new Job(
        job.id(),
        job.submission(),
        JobState.SUCCEEDED,
        0,
        null,
        Failures.NONE,
        KindHistory.NONE,
        "",
        Progress.getDefaultInstance(),
        new End(5, null));
  }

  private static MetricPoint point(long step) {
    return MetricPoint.newBuilder().setSeries("train/loss").setStep(step).build();
  }

  @AfterEach
  void close() {
    full.close();
  }

  private FakeReader<DownloadTicket> download(String name) {
    var reader = new FakeReader<DownloadTicket>();
    service.downloadArtifact(
        DownloadArtifactRequest.newBuilder().setJobId(JOB).setName(name).build(), reader);
    return reader;
  }

  @Test
  void aFullStoreHidesNothingThatItHolds() {
    var listing = new FakeReader<ListArtifactsResponse>();
    service.listArtifacts(JobRequest.newBuilder().setJobId(JOB).build(), listing);
    assertThat(listing.got.get(0).getArtifactsList())
        .extracting(Artifact::getName)
        .containsExactly("model.pth");
    assertThat(download("model.pth").got)
        .singleElement()
        .satisfies(ticket -> assertThat(ticket.getSha256()).isEqualTo("sha"));
  }

  @Test
  void whatItHasNoRoomForIsSaid() {
    assertThat(download("metrics.csv").error)
        .satisfies(error -> assertThat(error).isNotNull())
        .extracting(Status::getCode)
        .isEqualTo(Status.Code.RESOURCE_EXHAUSTED);
  }

  @Test
  void morePointsThanOneAnswerHoldsAreRefusedWithTheWayToThem() {
    assertThat(JobGrpcService.metrics(stores, JOB, 3).getPointsList())
        .containsExactly(point(1), point(2), point(3));
    assertThatThrownBy(() -> JobGrpcService.metrics(stores, JOB, 2))
        .isInstanceOf(CoordinatorException.class)
        .hasMessageContaining("more than 2 metric points")
        .hasMessageContaining("'baton artifacts get j metrics.csv'");
  }
}
