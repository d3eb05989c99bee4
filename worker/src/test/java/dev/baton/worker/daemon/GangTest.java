package dev.baton.worker.daemon;

import static dev.baton.worker.daemon.TestWorker.steps;
import static dev.baton.worker.testing.Eventually.await;
import static dev.baton.worker.testing.FakeTrainer.job;
import static dev.baton.worker.testing.FakeTrainer.weights;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIOException;

import dev.baton.v1.Assignment;
import dev.baton.v1.AttemptOutcome;
import dev.baton.v1.BeginAttemptRequest;
import dev.baton.v1.CoordinatorMessage;
import dev.baton.v1.FinishAttemptRequest;
import dev.baton.v1.GroupBroken;
import dev.baton.v1.GroupWaiting;
import dev.baton.v1.Heartbeat;
import dev.baton.v1.Hello;
import dev.baton.v1.LeaseRef;
import dev.baton.v1.OrderKind;
import dev.baton.v1.Probe;
import dev.baton.v1.ProbeTarget;
import dev.baton.v1.ProgressReport;
import dev.baton.worker.config.PortRange;
import dev.baton.worker.testing.FakeCoordinator;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/** A worker that holds ranks of gangs, with processes for trainers. */
@Timeout(120)
class GangTest {
  private static final String ENDLESS = job("finish", 99_999, 5, 0, 0);

  @TempDir Path dir;
  private TestWorker worker;
  private FakeCoordinator coordinator;

  @BeforeEach
  void start() throws Exception {
    worker = new TestWorker(dir, 2);
    coordinator = worker.coordinator;
  }

  @AfterEach
  void stop() throws Exception {
    List<ProcessHandle> trainers =
        ProcessHandle.current().children().filter(child -> commandLine(child).isPresent()).toList();
    coordinator.endAll();
    worker.close();
    await("no process is left", () -> trainers.stream().noneMatch(ProcessHandle::isAlive));
  }

  @Test
  void helloSaysWhereThisWorkerIsReachedAndAHeartbeatWhatItsLibtorchCanDo() {
    await(
        "told",
        () -> coordinator.copy(coordinator.heartbeats).stream().anyMatch(Heartbeat::getReplicas));
    List<Hello> hellos = coordinator.copy(coordinator.hellos);
    assertThat(hellos.get(hellos.size() - 1))
        .satisfies(
            hello -> {
              assertThat(hello.getAdvertiseHost()).isEqualTo("worker-1.example");
              assertThat(hello.getProbePort()).isEqualTo(7_654);
              assertThat(hello.getHostId()).isEqualTo("here");
            });
    assertThat(LoopbackId.find()).matches("[0-9a-f]{64}").isEqualTo(LoopbackId.find());
  }

  @Test
  void twoRanksOfAJobTrainHereAndRankZeroAloneStores() {
    List<LeaseRef> gang = twoRanks(job("finish", 400, 5, 0, 100));
    await("rank 1 trains", () -> reported(gang.get(1)) > 0);
    FinishAttemptRequest end = worker.finished(1);
    assertThat(end.getLease()).isEqualTo(gang.get(0));
    assertThat(end.getOutcome()).isEqualTo(AttemptOutcome.ATTEMPT_OUTCOME_SUCCEEDED);
    assertThat(end.getResult().getWeightsSha256()).isEqualTo(weights(400));
    assertThat(coordinator.lossSteps()).isEqualTo(steps(400));
    assertThat(coordinator.refusals).isEmpty();
    BeginAttemptRequest begun = onlyBegin();
    assertThat(begun.getLease()).isEqualTo(gang.get(0));
    assertThat(begun.getFromMemory()).isFalse();
    assertThat(begun.getResumedStep()).isZero();
    assertThat(begun.getKind()).isEqualTo("fake kind");
    assertThat(begun.getTotalSteps()).isEqualTo(400);
    // The ports are this worker's; rank 0 chose one.
    assertThat(waiting(gang.get(0)).orElseThrow().getPort()).isEqualTo(40_001);
    List<ProgressReport> others =
        coordinator.copy(coordinator.progress).stream()
            .filter(p -> p.getLease().equals(gang.get(1)))
            .toList();
    assertThat(others)
        .allSatisfy(
            p -> {
              assertThat(p.hasProgress()).isFalse();
              assertThat(p.getReplica().getMemoryBytes()).isPositive();
            })
        .hasSizeLessThanOrEqualTo(6);
    assertThat(coordinator.log(gang.get(0).getTerm()))
        .startsWith("threads 1\nstep 1\n")
        .endsWith("step 400\ndone\n");
    // The other one stays, with its state, until its lease is over.
    assertThat(coordinator.stands(gang.get(1))).isTrue();
    await("rank 0 is over", () -> leases().equals(List.of(gang.get(1))));
    coordinator.end(gang.get(1));
    await("nothing is left of it", () -> leases().isEmpty() && worker.entries("attempts") == 0);
  }

  @Test
  void underANewTermTheSameProcessGoesOnFromMemory() {
    List<LeaseRef> gang = twoRanks(ENDLESS);
    await("trains", () -> reported(gang.get(0)) > 10 && reported(gang.get(1)) > 0);
    ProcessHandle zero = trainer(0);
    breakGroup(zero);
    await("told", () -> brokenAt(gang.get(0)).isPresent());
    long held = brokenAt(gang.get(0)).orElseThrow();
    List<LeaseRef> alone = coordinator.gang("j", 1);
    coordinator.offerRank(alone.get(0), coordinator.assignment("j", ENDLESS), gang.get(0));
    coordinator.end(gang.get(1));
    await("goes on", () -> reported(alone.get(0)) > held);
    assertThat(zero.isAlive()).isTrue();
    BeginAttemptRequest begun = coordinator.copy(coordinator.begun).get(1);
    assertThat(begun.getLease()).isEqualTo(alone.get(0));
    assertThat(begun.getFromMemory()).isTrue();
    assertThat(begun.getResumedStep()).isEqualTo(held);
    assertThat(begun.getCheckpointId()).isEmpty();
    coordinator.order(alone.get(0), OrderKind.ORDER_KIND_HAND_OVER, "");
    await("handed over", () -> !coordinator.stands(alone.get(0)));
    // Every point of both terms, and every line of the log in one of them.
    assertThat(coordinator.lossSteps()).isEqualTo(steps(coordinator.committedStep()));
    String log = coordinator.log(gang.get(0).getTerm()) + coordinator.log(alone.get(0).getTerm());
    assertThat(log)
        .isEqualTo(
            "threads 1\n"
                + String.join(
                    "",
                    steps(coordinator.committedStep()).stream()
                        .map(s -> "step " + s + "\n")
                        .toList()));
    assertThat(coordinator.refusals).isEmpty();
    await("idle", () -> leases().isEmpty() && worker.entries("attempts") == 0);
  }

  @Test
  void whoeverBecomesRankZeroStoresFromThenOn() {
    String name = job("finish", 99_999, 5, 0, 50);
    List<LeaseRef> gang = twoRanks(name);
    await("a checkpoint", () -> coordinator.committedStep() > 0);
    long kept = coordinator.committedStep();
    ProcessHandle one = trainer(1);
    await("rank 1 is beyond it", () -> reported(gang.get(1)) > kept);
    coordinator.end(gang.get(0));
    List<LeaseRef> alone = coordinator.gang("j", 1);
    coordinator.offerRank(alone.get(0), coordinator.assignment("j", name), gang.get(1));
    await("it commits", () -> commitsOf(alone.get(0)) > 0);
    assertThat(one.isAlive()).isTrue();
    assertThat(coordinator.lossSteps()).startsWith(1L).contains(kept, kept + 1);
    assertThat(coordinator.refusals).noneMatch(r -> r.contains("repeated"));
    // Its log begins with what it prints as rank 0.
    await("its log", () -> coordinator.log(alone.get(0).getTerm()).contains("step"));
    assertThat(coordinator.log(alone.get(0).getTerm())).doesNotContain("threads", "step 1\n");
  }

  @Test
  void theDeathOfOneRanksTrainerIsToldAtOnceAndTheOtherGoesOn() {
    String name = job("finish", 99_999, 5, 0, 50);
    coordinator.store.hold(true);
    List<LeaseRef> gang = twoRanks(name);
    await("an upload is under way", () -> coordinator.store.uploading() > 0);
    await("rank 1 trains", () -> reported(gang.get(1)) > 0);
    long began = System.nanoTime();
    trainer(1).destroyForcibly();
    FinishAttemptRequest end = worker.finished(1);
    assertThat(System.nanoTime() - began).isLessThan(TimeUnit.MILLISECONDS.toNanos(500));
    assertThat(end.getLease()).isEqualTo(gang.get(1));
    assertThat(end.getOutcome()).isEqualTo(AttemptOutcome.ATTEMPT_OUTCOME_KILLED);
    long then = reported(gang.get(0));
    await("rank 0 goes on", () -> reported(gang.get(0)) > then);
    assertThat(coordinator.stands(gang.get(0))).isTrue();
    // Nor does an upload keep the news of rank 0's.
    began = System.nanoTime();
    trainer(0).destroyForcibly();
    assertThat(worker.finished(2).getLease()).isEqualTo(gang.get(0));
    assertThat(System.nanoTime() - began).isLessThan(TimeUnit.MILLISECONDS.toNanos(500));
    assertThat(coordinator.copy(coordinator.commits)).isEmpty();
    await("nothing is left", () -> leases().isEmpty() && worker.entries("attempts") == 0);
  }

  @Test
  void anOfferThatFollowsALeaseWhoseTrainerIsGoneIsGivenBack() {
    List<LeaseRef> gang = twoRanks(ENDLESS);
    await("trains", () -> reported(gang.get(0)) > 3);
    trainer(1).destroyForcibly();
    FinishAttemptRequest unused = worker.finished(1);
    await("its end is heard", () -> leases().equals(List.of(gang.get(0))));
    List<LeaseRef> next = coordinator.gang("j", 2);
    Assignment assignment = coordinator.assignment("j", ENDLESS);
    coordinator.offerRank(next.get(0), assignment, gang.get(0));
    coordinator.offerRank(next.get(1), assignment, gang.get(1));
    FinishAttemptRequest back = worker.finished(2);
    assertThat(back.getLease()).isEqualTo(next.get(1));
    assertThat(back.getOutcome()).isEqualTo(AttemptOutcome.ATTEMPT_OUTCOME_RELEASED);
    assertThat(back.getMessage()).isEqualTo("its trainer is gone");
  }

  @Test
  void aLeaseMayFollowOneWhoseTrainerIsNotReadyYet() {
    Assignment assignment = coordinator.assignment("j", ENDLESS);
    List<LeaseRef> first = coordinator.gang("j", 1);
    coordinator.offerRank(first.get(0), assignment, null);
    List<LeaseRef> next = coordinator.gang("j", 1);
    coordinator.offerRank(next.get(0), assignment, first.get(0));
    await("trains", () -> reported(next.get(0)) > 3);
    assertThat(waiting(first.get(0))).isEmpty();
    BeginAttemptRequest begun = onlyBegin();
    assertThat(begun.getLease()).isEqualTo(next.get(0));
    // From what was restored here, as if there had been no term before.
    assertThat(begun.getFromMemory()).isFalse();
    assertThat(worker.entries("attempts")).isEqualTo(1);
  }

  @Test
  void aRefusedWriteMayCrossTheOfferThatContinues() {
    String name = job("finish", 99_999, 5, 0, 50);
    List<LeaseRef> gang = twoRanks(name);
    await("trains", () -> reported(gang.get(0)) > 10);
    ProcessHandle zero = trainer(0);
    // Nothing but the refusal tells of the end.
    coordinator.answering(false);
    coordinator.end(gang.get(0));
    await("refused", () -> !coordinator.copy(coordinator.refusals).isEmpty());
    List<LeaseRef> alone = coordinator.gang("j", 1);
    coordinator.offerRank(alone.get(0), coordinator.assignment("j", name), gang.get(0));
    coordinator.answering(true);
    await("commits", () -> commitsOf(alone.get(0)) > 0);
    assertThat(zero.isAlive()).isTrue();
    assertThat(coordinator.lossSteps()).isEqualTo(steps(coordinator.committedStep()));
  }

  @Test
  void aResultThatCrossedTheOfferOfTheNextTermIsToldInThatTerm() {
    String name = job("finish", 200, 5, 0, 0);
    List<LeaseRef> gang = twoRanks(name);
    coordinator.store.hold(true);
    await("its artifact is under way", () -> coordinator.store.uploading() > 0);
    // Nothing but the refusal tells of the end.
    coordinator.answering(false);
    coordinator.end(gang.get(0));
    coordinator.store.hold(false);
    await(
        "refused", () -> coordinator.copy(coordinator.refusals).contains(refusal("finish", gang)));
    List<LeaseRef> alone = coordinator.gang("j", 1);
    coordinator.offerRank(alone.get(0), coordinator.assignment("j", name), gang.get(0));
    FinishAttemptRequest end = worker.finished(1);
    coordinator.answering(true);
    assertThat(end.getLease()).isEqualTo(alone.get(0));
    assertThat(end.getOutcome()).isEqualTo(AttemptOutcome.ATTEMPT_OUTCOME_SUCCEEDED);
    assertThat(end.getResult().getWeightsSha256()).isEqualTo(weights(200));
    assertThat(end.getArtifactsCount()).isEqualTo(1);
    assertThat(coordinator.lossSteps()).isEqualTo(steps(200));
    assertThat(waiting(alone.get(0))).isEmpty();
    BeginAttemptRequest begun = coordinator.copy(coordinator.begun).get(1);
    assertThat(begun.getLease()).isEqualTo(alone.get(0));
    assertThat(begun.getFromMemory()).isTrue();
    assertThat(begun.getResumedStep()).isEqualTo(200);
    assertThat(begun.getTotalSteps()).isEqualTo(200);
  }

  @Test
  void soIsALastCheckpoint() {
    List<LeaseRef> gang = twoRanks(ENDLESS);
    await("trains", () -> reported(gang.get(0)) > 10);
    coordinator.store.hold(true);
    coordinator.order(gang.get(0), OrderKind.ORDER_KIND_HAND_OVER, "");
    await("an upload is under way", () -> coordinator.store.uploading() > 0);
    coordinator.answering(false);
    coordinator.end(gang.get(0));
    coordinator.store.hold(false);
    await(
        "refused", () -> coordinator.copy(coordinator.refusals).contains(refusal("commit", gang)));
    List<LeaseRef> alone = coordinator.gang("j", 1);
    coordinator.offerRank(alone.get(0), coordinator.assignment("j", ENDLESS), gang.get(0));
    await("handed over", () -> !coordinator.stands(alone.get(0)));
    coordinator.answering(true);
    assertThat(commitsOf(alone.get(0))).isEqualTo(1);
    assertThat(coordinator.lossSteps()).isEqualTo(steps(coordinator.committedStep()));
    assertThat(coordinator.copy(coordinator.finished)).isEmpty();
  }

  @Test
  void aRefusedWriteEndsARankThatNothingContinues() {
    String name = job("finish", 99_999, 5, 0, 50);
    List<LeaseRef> gang = twoRanks(name);
    await("trains", () -> reported(gang.get(0)) > 10);
    ProcessHandle zero = trainer(0);
    coordinator.end(gang.get(0));
    await("ended", () -> leases().equals(List.of(gang.get(1))) && !zero.isAlive());
  }

  @Test
  void aJobThatStartsAnewOnThisWorkerEndsWhatIsLeftOfItsOlderTerms() {
    List<LeaseRef> old = twoRanks(ENDLESS);
    await("trains", () -> reported(old.get(0)) > 3);
    List<LeaseRef> anew = twoRanks(ENDLESS);
    await("trains", () -> reported(anew.get(0)) > 3 && reported(anew.get(1)) > 0);
    assertThat(leases()).containsExactlyInAnyOrderElementsOf(anew);
    assertThat(coordinator.copy(coordinator.finished)).isEmpty();
    // An offer of an older term, come late, changes nothing.
    coordinator.offerRank(old.get(0), coordinator.assignment("j", ENDLESS), null);
    long then = reported(anew.get(0));
    await("goes on", () -> reported(anew.get(0)) > then + 20);
    assertThat(leases()).containsExactlyInAnyOrderElementsOf(anew);
  }

  @Test
  void aTrainerPreparedToJoinComesWithoutAState() {
    List<LeaseRef> first = coordinator.gang("j", 1);
    coordinator.offerRank(first.get(0), coordinator.assignment("j", ENDLESS), null);
    await("trains", () -> reported(first.get(0)) > 5);
    Assignment joins = coordinator.assignment("j", ENDLESS).toBuilder().setJoins(true).build();
    coordinator.prepare(joins);
    await("prepared", () -> last().getPreparedJobsList().equals(List.of("j")));
    ProcessHandle zero = trainer(0);
    List<LeaseRef> both = coordinator.gang("j", 2);
    // In whatever order they come.
    coordinator.offerRank(both.get(1), joins, null);
    coordinator.offerRank(both.get(0), coordinator.assignment("j", ENDLESS), first.get(0));
    await("both train", () -> reported(both.get(0)) > 0 && reported(both.get(1)) > 0);
    assertThat(zero.isAlive()).isTrue();
    assertThat(waiting(both.get(1)).orElseThrow().getStep()).isEqualTo(-1);
    long held = waiting(both.get(0)).orElseThrow().getStep();
    assertThat(held).isPositive();
    assertThat(coordinator.copy(coordinator.begun).get(1).getResumedStep()).isEqualTo(held);
    assertThat(reported(both.get(1))).isGreaterThan(held);
  }

  @Test
  void whatWasSaidOfAGroupIsSaidAgainInANewSession() {
    coordinator.formingGroups(false);
    List<LeaseRef> gang = twoRanks(ENDLESS);
    await("both wait", () -> waiting(gang.get(0)).isPresent() && waiting(gang.get(1)).isPresent());
    int said = coordinator.copy(coordinator.waiting).size();
    coordinator.formingGroups(true);
    coordinator.breakStream();
    await("trains", () -> reported(gang.get(0)) > 3);
    assertThat(coordinator.copy(coordinator.waiting)).hasSize(said + 2);
    breakGroup(trainer(0));
    await("told", () -> brokenAt(gang.get(0)).isPresent());
    coordinator.breakStream();
    await("told again", () -> coordinator.copy(coordinator.broken).size() == 2);
    GroupBroken broken = coordinator.copy(coordinator.broken).get(1);
    assertThat(broken.getLease()).isEqualTo(gang.get(0));
    assertThat(broken.getMessage()).isEqualTo("Connection closed by peer");
    // Who waits for the others has not stalled, and of two who trains neither.
    sleep(3_000);
    assertThat(coordinator.copy(coordinator.finished)).isEmpty();
    assertThat(leases()).containsExactlyInAnyOrderElementsOf(gang);
  }

  @Test
  void aRankThatMustLeaveGivesItsPlaceBackWhereNobodyTakesIt() {
    List<LeaseRef> gang = twoRanks(ENDLESS);
    await("trains", () -> reported(gang.get(1)) > 0);
    long began = System.nanoTime();
    coordinator.order(gang.get(1), OrderKind.ORDER_KIND_HAND_OVER, "spot notice");
    FinishAttemptRequest back = worker.finished(1);
    assertThat(System.nanoTime() - began).isGreaterThan(TimeUnit.SECONDS.toNanos(4));
    assertThat(back.getLease()).isEqualTo(gang.get(1));
    assertThat(back.getOutcome()).isEqualTo(AttemptOutcome.ATTEMPT_OUTCOME_RELEASED);
    assertThat(back.getMessage()).isEqualTo("spot notice");
    assertThat(coordinator.stands(gang.get(0))).isTrue();
  }

  @Test
  void whenTheWorkerDrainsRankZeroHandsOverAndTheOthersWaitForTheEndOfTheirLease() {
    List<LeaseRef> gang = twoRanks(ENDLESS);
    await("trains", () -> reported(gang.get(0)) > 3 && reported(gang.get(1)) > 0);
    worker.daemon.leave("SIGTERM");
    await("handed over", () -> !coordinator.stands(gang.get(0)));
    assertThat(coordinator.committedStep()).isPositive();
    assertThat(coordinator.stands(gang.get(1))).isTrue();
    coordinator.end(gang.get(1));
    await("ended", () -> worker.daemon.ended().isDone());
    assertThat(coordinator.copy(coordinator.finished)).isEmpty();
  }

  @Test
  void probesTellWhoIsReachedByThisVeryWorkersAnswer() throws Exception {
    try (ProbeListener there = ProbeListener.open("there", false, PortRange.ANY);
        ProbeListener other = ProbeListener.open("other", true, PortRange.ANY);
        ServerSocket silent = new ServerSocket(0, 5, InetAddress.getLoopbackAddress())) {
      int closed;
      try (ServerSocket refused = new ServerSocket(0, 5, InetAddress.getLoopbackAddress())) {
        closed = refused.getLocalPort();
      }
      long began = System.nanoTime();
      coordinator.push(
          CoordinatorMessage.newBuilder()
              .setProbe(
                  Probe.newBuilder()
                      .setProbeId(5)
                      .addTargets(target("there", there.port()))
                      .addTargets(target("another", other.port()))
                      .addTargets(target("other", other.port()))
                      .addTargets(target("silent", silent.getLocalPort()))
                      .addTargets(target("refused", closed)))
              .build());
      await("answered", () -> coordinator.copy(coordinator.probed).size() == 1);
      assertThat(System.nanoTime() - began).isBetween(0L, TimeUnit.SECONDS.toNanos(4));
      assertThat(coordinator.copy(coordinator.probed).get(0))
          .satisfies(
              result -> {
                assertThat(result.getProbeId()).isEqualTo(5);
                assertThat(result.getWorkerIdsList()).containsExactly("there", "other");
              });
    }
  }

  @Test
  void theFirstFreePortOfTheRangeAnswersProbes() throws Exception {
    try (ServerSocket taken = new ServerSocket(0, 5, InetAddress.getLoopbackAddress())) {
      int first = taken.getLocalPort();
      assertThatIOException()
          .isThrownBy(
              () -> {
                try (ServerSocket also =
                    new ServerSocket(first + 1, 5, InetAddress.getLoopbackAddress())) {
                  assertThat(also.getLocalPort()).isEqualTo(first + 1);
                  ProbeListener.open("w", false, new PortRange(first, first + 1)).close();
                }
              })
          .withMessage(
              "--ports: none of %d-%d is free on this machine".formatted(first, first + 1));
      try (ProbeListener second = ProbeListener.open("w", false, new PortRange(first, first + 9))) {
        assertThat(second.port()).isBetween(first + 1, first + 9);
      }
    }
  }

  private static String refusal(String call, List<LeaseRef> gang) {
    return call + " of term " + gang.get(0).getTerm();
  }

  private static ProbeTarget target(String id, int port) {
    return ProbeTarget.newBuilder().setWorkerId(id).setHost("127.0.0.1").setPort(port).build();
  }

  private List<LeaseRef> twoRanks(String name) {
    List<LeaseRef> gang = coordinator.gang("j", 2);
    Assignment assignment = coordinator.assignment("j", name);
    gang.forEach(lease -> coordinator.offerRank(lease, assignment, null));
    return gang;
  }

  private BeginAttemptRequest onlyBegin() {
    List<BeginAttemptRequest> begun = coordinator.copy(coordinator.begun);
    assertThat(begun).hasSize(1);
    return begun.get(0);
  }

  // The newest step that a rank has reported.
  private long reported(LeaseRef lease) {
    return coordinator.copy(coordinator.progress).stream()
        .filter(p -> p.getLease().equals(lease))
        .mapToLong(p -> p.getReplica().getBytesSent())
        .max()
        .orElse(0);
  }

  private Optional<GroupWaiting> waiting(LeaseRef lease) {
    return coordinator.copy(coordinator.waiting).stream()
        .filter(w -> w.getLease().equals(lease))
        .findFirst();
  }

  private Optional<Long> brokenAt(LeaseRef lease) {
    return coordinator.copy(coordinator.broken).stream()
        .filter(b -> b.getLease().equals(lease))
        .map(GroupBroken::getStep)
        .findFirst();
  }

  private long commitsOf(LeaseRef lease) {
    return coordinator.copy(coordinator.commits).stream()
        .filter(c -> c.getLease().equals(lease))
        .count();
  }

  private List<LeaseRef> leases() {
    return last().getLeasesList();
  }

  private Heartbeat last() {
    var heartbeats = coordinator.copy(coordinator.heartbeats);
    return heartbeats.get(heartbeats.size() - 1);
  }

  private static Optional<String> commandLine(ProcessHandle process) {
    return process.info().commandLine().filter(line -> line.contains("FakeTrainer"));
  }

  private Path rankFile(int rank) {
    try (Stream<Path> attempts = Files.list(dir.resolve("attempts"))) {
      return attempts
          .map(attempt -> attempt.resolve("attempt").resolve("rank-" + rank))
          .filter(Files::exists)
          .findFirst()
          .orElseThrow();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private ProcessHandle trainer(int rank) {
    try {
      return ProcessHandle.of(Long.parseLong(Files.readString(rankFile(rank)))).orElseThrow();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  // Of the rank 0 that there is.
  private void breakGroup(ProcessHandle zero) {
    assertThat(zero.isAlive()).isTrue();
    try {
      Files.createFile(rankFile(0).resolveSibling("break"));
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private static void sleep(long millis) {
    try {
      Thread.sleep(millis);
    } catch (InterruptedException e) {
      throw new IllegalStateException(e);
    }
  }
}
