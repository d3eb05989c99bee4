package dev.baton.coordinator.housekeeping;

import static org.assertj.core.api.Assertions.assertThat;

import dev.baton.coordinator.core.Failures;
import dev.baton.coordinator.core.Job;
import dev.baton.coordinator.core.JobState;
import dev.baton.coordinator.core.KindHistory;
import dev.baton.coordinator.core.Lease;
import dev.baton.coordinator.core.LeasePolicy;
import dev.baton.coordinator.core.Now;
import dev.baton.coordinator.core.ObjectKeys;
import dev.baton.coordinator.core.ObjectStoreException;
import dev.baton.coordinator.core.ObjectStoreException.Kind;
import dev.baton.coordinator.core.Reads;
import dev.baton.coordinator.core.Scheduler;
import dev.baton.coordinator.core.Stores;
import dev.baton.coordinator.core.Submission;
import dev.baton.coordinator.core.Upload;
import dev.baton.coordinator.loop.CoreLoop;
import dev.baton.coordinator.objectstore.EmbeddedS3;
import dev.baton.coordinator.store.Readers;
import dev.baton.coordinator.store.SqliteDatabase;
import dev.baton.coordinator.testing.ForwardingObjectStore;
import dev.baton.coordinator.testing.QuietBinding;
import dev.baton.rpc.HostPort;
import dev.baton.v1.JobSpec;
import dev.baton.v1.Progress;
import dev.baton.v1.UploadContent;
import dev.baton.v1.UploadPart;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.time.InstantSource;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.Random;
import java.util.function.Consumer;
import java.util.function.Function;
import java.util.stream.Stream;
import org.awaitility.Awaitility;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** On a real database and a real object store; only the clock is set by hand. */
final class HousekeeperTest {
  private static final UploadContent ONE_BYTE =
      UploadContent.newBuilder().setBytes(1).addParts(UploadPart.newBuilder().setBytes(1)).build();

  @TempDir Path dir;

  // The files have the time of the machine.
  private final Instant start = Instant.now();
  private volatile Instant time = start;
  private final InstantSource clock = () -> time;

  @SuppressWarnings("NullAway.Init") // by open
  private SqliteDatabase database;

  @SuppressWarnings("NullAway.Init") // by open
  private Readers readers;

  @SuppressWarnings("NullAway.Init") // by open
  private EmbeddedS3 objects;

  @SuppressWarnings("NullAway.Init") // by open
  private CoreLoop<Scheduler> loop;

  @SuppressWarnings("NullAway.Init") // by open
  private Housekeeper housekeeper;

  @BeforeEach
  void open() throws Exception {
    database = SqliteDatabase.open(dir.resolve("coordinator.db"));
    readers = new Readers(dir.resolve("coordinator.db"));
    objects =
        EmbeddedS3.start(
            dir, new HostPort("127.0.0.1", 0), Optional.empty(), InstantSource.system());
    loop =
        new CoreLoop<>(
            database,
            new Scheduler(database.stores(), LeasePolicy.DEFAULT, new Random(1)),
            new QuietBinding(),
            () -> new Now(System.nanoTime(), time.toEpochMilli()),
            () -> {});
    loop.load();
    loop.start();
    housekeeper = keeper(readers);
  }

  private Housekeeper keeper(Reads reads) {
    return new Housekeeper(loop, database.stores(), reads, objects, database.id(), clock);
  }

  @AfterEach
  void close() {
    housekeeper.close();
    loop.close();
    objects.close();
    readers.close();
    database.close();
  }

  private void write(Consumer<Stores> change) {
    var unused =
        loop.submit(
                (core, now) -> {
                  change.accept(database.stores());
                  return true;
                })
            .join();
  }

  /** Notes an upload, now, and puts its object. */
  private Upload upload(String id, String job, long term, Upload.State state) throws Exception {
    Upload upload = noted(id, job, term, "", state);
    objects.put(upload.objectKey(), new byte[] {1});
    return upload;
  }

  private Upload noted(String id, String job, long term, String multipart, Upload.State state) {
    String key = job.isEmpty() ? ObjectKeys.forDataset() : ObjectKeys.forJob(job, term);
    return noted(id, job, term, key, multipart, state);
  }

  private Upload noted(
      String id, String job, long term, String key, String multipart, Upload.State state) {
    Upload upload = new Upload(id, job, term, key, multipart, ONE_BYTE, time.toEpochMilli(), state);
    write(stores -> stores.uploads().insert(upload));
    return upload;
  }

  /** A job in its {@code term}th term. */
  private void job(String id, long term) {
    Job submitted =
        Job.submitted(id, new Submission(1, "request", JobSpec.getDefaultInstance(), "digest", 1));
    Job running =
        new Job(
            id,
            submitted.submission(),
            JobState.RUNNING,
            term,
            new Lease(term, "lease", "worker-id", "worker"),
            Failures.NONE,
            KindHistory.NONE,
            "",
            Progress.getDefaultInstance(),
            null);
    write(
        stores -> {
          assertThat(stores.jobs().insert(submitted)).isTrue();
          assertThat(stores.jobs().update(running, submitted.fence())).isTrue();
        });
  }

  private boolean known(Upload upload) {
    return readers.read(stores -> stores.uploads().find(upload.uploadId())).isPresent();
  }

  private boolean stored(Upload upload) throws ObjectStoreException {
    return objects.stat(upload.objectKey()).isPresent();
  }

  private void assertStays(Upload... uploads) throws Exception {
    for (Upload upload : uploads) {
      assertThat(known(upload)).as("%s is known", upload.uploadId()).isTrue();
      assertThat(stored(upload)).as("%s is stored", upload.uploadId()).isTrue();
    }
  }

  private void assertGone(Upload... uploads) throws Exception {
    for (Upload upload : uploads) {
      assertThat(known(upload)).as("%s is known", upload.uploadId()).isFalse();
      assertThat(stored(upload)).as("%s is stored", upload.uploadId()).isFalse();
    }
  }

  private List<Path> files() throws IOException {
    try (Stream<Path> files = Files.walk(dir.resolve("objects/baton"))) {
      return files.filter(Files::isRegularFile).toList();
    }
  }

  @Test
  void whatTheDatabaseLetGoIsRemovedAndWhatItKeepsIsNot() throws Exception {
    job("j", 2);
    Upload kept = upload("kept", "j", 1, Upload.State.KEPT);
    Upload discarded = upload("discarded", "j", 1, Upload.State.DISCARDED);
    Upload older = upload("of an older term", "j", 1, Upload.State.OPEN);
    Upload current = upload("of the current term", "j", 2, Upload.State.OPEN);
    Upload dataset = upload("of a data set", "", 0, Upload.State.OPEN);
    housekeeper.removeOld();
    assertStays(kept, current, dataset);
    assertGone(discarded, older);
  }

  @Test
  void anUploadThatNothingRefersToLivesForADay() throws Exception {
    job("j", 1);
    Upload kept = upload("kept", "j", 1, Upload.State.KEPT);
    Upload leased = upload("of the lease that stands", "j", 1, Upload.State.OPEN);
    Upload open = upload("of no job", "none", 1, Upload.State.OPEN);
    Upload dataset = upload("of a data set", "", 0, Upload.State.OPEN);
    time = start.plus(Duration.ofHours(24));
    housekeeper.removeOld();
    housekeeper.sweep();
    assertStays(kept, leased, open, dataset);
    time = start.plus(Duration.ofHours(24)).plusMillis(1);
    housekeeper.removeOld();
    assertStays(kept, leased);
    assertGone(open, dataset);
  }

  @Test
  void aPushThatLastsLongerThanADayIsLeftAlone() throws Exception {
    Upload pushed = upload("pushed", "", 0, Upload.State.OPEN);
    time = start.plus(Duration.ofHours(23));
    assertThat(
            loop.submit((core, now) -> core.createDatasetUpload("pushed", ONE_BYTE, now))
                .join()
                .objectKey())
        .isEqualTo(pushed.objectKey());
    time = start.plus(Duration.ofHours(47));
    housekeeper.removeOld();
    assertStays(pushed);
    time = start.plus(Duration.ofHours(47)).plusMillis(1);
    housekeeper.removeOld();
    assertGone(pushed);
  }

  @Test
  void anUploadOfPartsIsAbortedWithThem() throws Exception {
    UploadContent twoParts =
        UploadContent.newBuilder()
            .setBytes(2)
            .addParts(UploadPart.newBuilder().setBytes(1))
            .addParts(UploadPart.newBuilder().setBytes(1))
            .build();
    String key = ObjectKeys.forDataset();
    Upload parts =
        noted("parts", "", 0, key, objects.beginUpload(key, twoParts), Upload.State.DISCARDED);
    assertThat(files()).isNotEmpty();
    housekeeper.removeOld();
    assertGone(parts);
    assertThat(files()).isEmpty();
  }

  @Test
  void oneRoundTakesMoreThanOneBatch() throws Exception {
    List<Upload> many = new ArrayList<>();
    for (int i = 0; i < 250; i++) {
      many.add(noted("discarded " + i, "", 0, "", Upload.State.DISCARDED));
    }
    housekeeper.removeOld();
    assertGone(many.toArray(Upload[]::new));
  }

  @Test
  void whatIsCommittedBetweenTheLookAndTheRemovalStays() throws Exception {
    Upload late = upload("late", "", 0, Upload.State.OPEN);
    time = start.plus(Duration.ofHours(25));
    keeper(new ChangesAfterwards(s -> s.uploads().setState("late", Upload.State.KEPT))).removeOld();
    assertStays(late);
  }

  @Test
  void whatIsAskedForBetweenTheLookAndTheRemovalStays() throws Exception {
    Upload late = upload("late", "", 0, Upload.State.OPEN);
    time = start.plus(Duration.ofHours(25));
    keeper(new ChangesAfterwards(s -> s.uploads().setReferredAt("late", time.toEpochMilli())))
        .removeOld();
    assertStays(late);
  }

  /** Reads, and only then does somebody change something. */
  private final class ChangesAfterwards implements Reads {
    private final Consumer<Stores> change;

    ChangesAfterwards(Consumer<Stores> change) {
      this.change = change;
    }

    @Override
    public <T> T read(Function<Stores, T> query) {
      T seen = readers.read(query);
      write(change);
      return seen;
    }
  }

  @Test
  void theSweepTakesWhatTheDatabaseDoesNotKnowAfterADay() throws Exception {
    job("j", 1);
    Upload kept = upload("kept", "j", 1, Upload.State.KEPT);
    Upload open = upload("open", "j", 1, Upload.State.OPEN);
    String unknown = ObjectKeys.forJob("j", 1);
    String report = ObjectKeys.jobPrefix("j") + "reports/train.log";
    objects.put(unknown, new byte[] {1});
    objects.put(report, new byte[] {1});

    time = start.plus(Duration.ofHours(24)).minusSeconds(1);
    housekeeper.sweep();
    assertThat(objects.stat(unknown)).as("less than a day old").isPresent();

    time = start.plus(Duration.ofHours(24)).plusSeconds(120);
    housekeeper.sweep();
    assertThat(objects.stat(unknown)).isEmpty();
    assertThat(objects.stat(report)).isPresent();
    assertStays(kept, open);
  }

  @Test
  void theSweepTakesNothingFromAStoreThatIsAnothers() throws Exception {
    String unknown = ObjectKeys.forJob("j", 1);
    objects.put(unknown, new byte[] {1});
    assertThat(objects.claim("another")).isEqualTo("another");
    time = start.plus(Duration.ofHours(25));
    housekeeper.sweep();
    assertThat(objects.stat(unknown)).isPresent();
    objects.delete("baton/owner");
    housekeeper.sweep();
    assertThat(objects.stat(unknown)).isEmpty();
    assertThat(objects.owner()).contains(database.id());
  }

  @Test
  void whatCannotBeRemovedKeepsNothingElse() throws Exception {
    List<Upload> stuck = new ArrayList<>();
    for (int i = 0; i < 25; i++) {
      stuck.add(upload("stuck " + i, "", 0, Upload.State.DISCARDED));
    }
    time = start.plusSeconds(1);
    Upload other = upload("other", "", 0, Upload.State.DISCARDED);
    var removals = new ArrayList<String>();
    var failing =
        new Housekeeper(
            loop,
            database.stores(),
            readers,
            new ForwardingObjectStore(objects) {
              @Override
              public void delete(String key) throws ObjectStoreException {
                removals.add(key);
                if (stuck.stream().anyMatch(upload -> upload.objectKey().equals(key))) {
                  throw new ObjectStoreException(Kind.UNAVAILABLE, "AccessDenied");
                }
                super.delete(key);
              }
            },
            database.id(),
            clock);
    for (int round = 0; round < 4; round++) {
      failing.removeOld();
    }
    assertGone(other);
    assertStays(stuck.toArray(Upload[]::new));
    assertThat(removals).as("each is tried once in an hour").hasSize(26);
    time = time.plus(Duration.ofHours(1));
    housekeeper.removeOld();
    assertGone(stuck.toArray(Upload[]::new));
    failing.close();
  }

  @Test
  void aFailureEndsNoRound() {
    List<String> done = new ArrayList<>();
    Housekeeper.runOnce(
        "a chore",
        () -> {
          done.add("failed");
          throw new IOException("the store is away");
        });
    Housekeeper.runOnce("a chore", () -> done.add("went well"));
    assertThat(done).containsExactly("failed", "went well");
  }

  @Test
  void itsRoundsBeginByThemselves() throws Exception {
    Upload discarded = upload("discarded", "", 0, Upload.State.DISCARDED);
    housekeeper.start();
    Awaitility.await().atMost(Duration.ofSeconds(30)).untilAsserted(() -> assertGone(discarded));
  }
}
