package dev.baton.coordinator.core;

import static org.assertj.core.api.Assertions.assertThat;

import dev.baton.v1.CollectiveBackend;
import dev.baton.v1.Draining;
import dev.baton.v1.Gpu;
import dev.baton.v1.JobState;
import dev.baton.v1.Offer;
import dev.baton.v1.OrderKind;
import dev.baton.v1.ProbeTarget;
import dev.baton.v1.Resources;
import java.util.Arrays;
import org.junit.jupiter.api.Test;

/** Where gangs go, who has to reach whom for that, and how they grow. */
final class GangPlacementTest {
  private final GangWorld world = new GangWorld();

  private GangWorld.Daemon onHost(String id, int slots) {
    return world.worker(id, slots, hello -> hello.setHostId("shared"));
  }

  /** Each answers that it reaches all others. */
  private static void meet(GangWorld.Daemon... daemons) {
    for (GangWorld.Daemon daemon : daemons) {
      daemon.reaches(
          Arrays.stream(daemons)
              .filter(other -> !other.equals(daemon))
              .toArray(GangWorld.Daemon[]::new));
    }
  }

  /** A job on all of these, whose group stands. */
  private String gang(int min, GangWorld.Daemon... members) {
    String job = world.submit(min, members.length);
    meet(members);
    world.form(job, 0);
    return job;
  }

  // ---- All or nothing

  @Test
  void aGangWaitsUntilAllOfItHasRoom() {
    onHost("a", 1);
    String job = world.submit(2, 2);
    assertThat(world.view(job).getState()).isEqualTo(JobState.JOB_STATE_QUEUED);
    assertThat(world.why(job))
        .isEqualTo(
            "needs 2 replicas at once: 1 of 2 fit now; all workers together have room for 1 of one"
                + " kind");
    onHost("b", 1);
    assertThat(world.members(job)).containsExactlyInAnyOrder("a", "b");
  }

  @Test
  void oneWorkerIsPreferredAndNoMoreThanTheMostAreTaken() {
    onHost("a", 1);
    onHost("b", 2);
    onHost("c", 4);
    String job = world.submit(1, 2);
    assertThat(world.members(job)).containsOnly("b").hasSize(2);
    String second = world.submit(1, 5);
    assertThat(world.members(second)).containsExactly("c", "c", "c", "c", "a");
  }

  @Test
  void twoGangsNeverHoldHalvesOfWhatEachNeeds() {
    world.worker("a", 3);
    String first = world.submit(2, 2);
    String second = world.submit(2, 2);
    assertThat(world.members(first)).hasSize(2);
    assertThat(world.view(second).getState()).isEqualTo(JobState.JOB_STATE_QUEUED);
  }

  @Test
  void eachReplicaTakesARoomOfItsOwn() {
    GangWorld.Daemon a =
        world.worker(
            "a",
            8,
            hello ->
                hello
                    .getMachineBuilder()
                    .addGpus(Gpu.newBuilder().setModel("T4"))
                    .addGpus(Gpu.newBuilder().setModel("T4")));
    String job =
        world.submit(
            GangWorld.spec(1, 8)
                .setResources(Resources.newBuilder().setCpus(1).setMemory(1L << 30)));
    assertThat(world.members(job)).containsExactly("a", "a");
    assertThat(a.offer().getAssignment().getBackend())
        .isEqualTo(CollectiveBackend.COLLECTIVE_BACKEND_NCCL);
    String memory =
        world.submit(
            GangWorld.spec(1, 8)
                .setResources(Resources.newBuilder().setGpus(0).setCpus(1).setMemory(20L << 30)));
    assertThat(world.members(memory)).hasSize(3);
    assertThat(a.offer().getAssignment().getBackend())
        .isEqualTo(CollectiveBackend.COLLECTIVE_BACKEND_GLOO);
  }

  @Test
  void aWorkerWithoutCollectivesHostsGangsOfOne() {
    world.worker("a", 4, hello -> hello.setReplicas(false));
    String two = world.submit(2, 4);
    assertThat(world.why(two))
        .isEqualTo(
            "needs 2 replicas at once: 1 of 2 fit now; the libtorch of a has no collectives");
    String one = world.submit(1, 4);
    assertThat(world.members(one)).containsExactly("a");
  }

  @Test
  void aGangIsOfOneKind() {
    onHost("a", 1);
    world.worker(
        "b",
        1,
        hello -> {
          hello.setHostId("shared");
          hello.getMachineBuilder().setCpuModel("other");
        });
    String job = world.submit(1, 2);
    assertThat(world.members(job)).hasSize(1);
  }

  // ---- Reaching each other

  @Test
  void workersOnDifferentMachinesMustAdvertiseThemselves() {
    world.worker("a", 1);
    world.worker("b", 1);
    String job = world.submit(2, 2);
    assertThat(world.why(job))
        .isEqualTo(
            "needs 2 replicas at once: 1 of 2 fit now; workers a and b do not reach each other:"
                + " start them with --advertise HOST");
  }

  @Test
  void theyAreProbedBothWaysBeforeTheyMeet() {
    GangWorld.Daemon a = world.reachable("a", 1);
    GangWorld.Daemon b = world.reachable("b", 1);
    String job = world.submit(2, 2);
    ProbeTarget target = a.probes().get(0).getTargets(0);
    assertThat(target.getWorkerId()).isEqualTo("b");
    assertThat(target.getHost()).isEqualTo("b.lan");
    assertThat(target.getPort()).isEqualTo(7_000);
    assertThat(b.probes()).hasSize(1);
    a.reaches(b);
    assertThat(world.view(job).getState()).isEqualTo(JobState.JOB_STATE_QUEUED);
    b.reaches(a);
    assertThat(world.members(job)).containsExactlyInAnyOrder("a", "b");
    Offer offer = a.offer();
    assertThat(offer.getAssignment().getAddress()).isEqualTo("a.lan");
    a.waits(a.lease());
    b.waits(b.lease());
    String store = world.members(job).get(0) + ".lan";
    assertThat(a.last().getGroupReady().getStoreHost()).isEqualTo(store);
    assertThat(b.last().getGroupReady().getStoreHost()).isEqualTo(store);
    // What is known is not asked for again.
    world.tell(s -> s.cancel(job, world.now()));
    String next = world.submit(2, 2);
    assertThat(world.members(next)).hasSize(2);
    assertThat(a.probes()).hasSize(1);
  }

  @Test
  void oneWayIsNotEnoughAndAnAnswerIsAwaitedThreeSeconds() {
    GangWorld.Daemon a = world.reachable("a", 1);
    GangWorld.Daemon b = world.reachable("b", 1);
    String job = world.submit(1, 2);
    a.reaches(b);
    world.advance(2_900);
    assertThat(world.view(job).getState()).isEqualTo(JobState.JOB_STATE_QUEUED);
    world.advance(200);
    assertThat(world.members(job)).hasSize(1);
    assertThat(b.probes()).hasSize(1);
  }

  @Test
  void notReachedHoldsAMinuteAndThenTheyTryAgain() {
    GangWorld.Daemon a = world.reachable("a", 1);
    GangWorld.Daemon b = world.reachable("b", 1);
    String job = world.submit(2, 2);
    a.reaches();
    b.reaches(a);
    assertThat(world.why(job))
        .endsWith(
            "workers a and b do not reach each other: their --advertise addresses and --ports must"
                + " be open to each other");
    world.worker("c", 1);
    world.advance(30_000);
    assertThat(a.probes()).hasSize(1);
    world.advance(35_000);
    world.worker("d", 1);
    assertThat(a.probes()).hasSize(2);
    meet(a, b);
    world.advance(500);
    assertThat(world.members(job)).containsExactlyInAnyOrder("a", "b");
  }

  @Test
  void ofAGangThatBrokeThoseGoOnThatStillReachEachOther() {
    GangWorld.Daemon a = world.reachable("a", 1);
    GangWorld.Daemon b = world.reachable("b", 1);
    GangWorld.Daemon c = world.reachable("c", 1);
    String job = gang(2, a, b, c);
    world.advance(3_000);
    world.holder(job, 1).broke(world.leases(job).get(1));
    world.advance(300);
    assertThat(a.probes()).hasSize(2);
    a.reaches(b);
    assertThat(world.term(job)).isEqualTo(1);
    b.reaches(a);
    assertThat(world.members(job)).containsExactlyInAnyOrder("a", "b");
    assertThat(c.orders().get(0).getKind()).isEqualTo(OrderKind.ORDER_KIND_CANCEL);
    assertThat(world.events(job, "regrouped").get(0)).endsWith("lost c: it is not reached");
  }

  @Test
  void aGangThatMakesNoStepGoesOnWithoutWhomTheOthersDoNotReach() {
    GangWorld.Daemon a = world.reachable("a", 1);
    GangWorld.Daemon b = world.reachable("b", 1);
    String job = gang(1, a, b);
    world.advance(4_100);
    assertThat(a.probes()).hasSize(2);
    a.reaches();
    b.reaches();
    assertThat(world.term(job)).isEqualTo(2);
    assertThat(world.members(job)).hasSize(1);
    assertThat(world.events(job, "regrouped").get(0)).endsWith(": it is not reached");
  }

  /** Of two that do not reach each other the one goes on that is there, though it is rank 1. */
  @Test
  void whoIsThereGoesOnWhereTheOtherMayBeCutOff() {
    GangWorld.Daemon a = world.reachable("a", 1);
    GangWorld.Daemon b = world.reachable("b", 1);
    String job = gang(1, a, b);
    GangWorld.Daemon lost = world.holder(job, 0);
    GangWorld.Daemon there = world.holder(job, 1);
    lost.beats = false;
    world.advance(4_100);
    assertThat(there.probes()).hasSize(2);
    there.reaches();
    assertThat(world.term(job)).isEqualTo(2);
    assertThat(world.members(job)).containsExactly(there.id);
    assertThat(world.events(job, "regrouped").get(0)).endsWith(": it is not reached");
  }

  @Test
  void aGangThatIsJustSlowIsLeftAlone() {
    GangWorld.Daemon a = world.reachable("a", 1);
    GangWorld.Daemon b = world.reachable("b", 1);
    String job = gang(1, a, b);
    world.advance(4_100);
    meet(a, b);
    world.advance(25_000);
    assertThat(a.probes()).hasSize(2);
    world.advance(6_000);
    assertThat(a.probes()).hasSize(3);
    assertThat(world.term(job)).isEqualTo(1);
  }

  @Test
  void aGangThatMakesNoStepIsSuspectedAfterAFailedTransactionToo() {
    GangWorld.Daemon a = world.reachable("a", 1);
    GangWorld.Daemon b = world.reachable("b", 1);
    String job = gang(1, a, b);
    world.fail(s -> s.submit("fails", GangWorld.spec(1, 1).build(), world.now()));
    assertSuspected(job, a, b);
  }

  @Test
  void aGangThatMakesNoStepIsSuspectedAfterARestartToo() {
    GangWorld.Daemon a = world.reachable("a", 1);
    GangWorld.Daemon b = world.reachable("b", 1);
    String job = gang(1, a, b);
    world.restart();
    a.connect();
    b.connect();
    assertSuspected(job, a, b);
  }

  private void assertSuspected(String job, GangWorld.Daemon a, GangWorld.Daemon b) {
    int asked = a.probes().size();
    world.advance(4_100);
    assertThat(a.probes()).hasSizeGreaterThan(asked);
    assertThat(world.term(job)).isEqualTo(1);
    a.reaches();
    b.reaches();
    assertThat(world.term(job)).isEqualTo(2);
  }

  @Test
  void whereTooFewReachEachOtherTheLeaseEnds() {
    GangWorld.Daemon a = world.reachable("a", 1);
    GangWorld.Daemon b = world.reachable("b", 1);
    String job = gang(2, a, b);
    a.broke(a.lease());
    world.advance(300);
    a.reaches();
    b.reaches();
    assertThat(world.view(job).getState()).isEqualTo(JobState.JOB_STATE_QUEUED);
    assertThat(world.view(job).getAttempts(0).getEndReason())
        .isEqualTo("its workers do not reach each other");
  }

  @Test
  void answersThatWaitedForASuspendedCoordinatorCount() {
    GangWorld.Daemon a = world.reachable("a", 1);
    GangWorld.Daemon b = world.reachable("b", 1);
    String job = brokenBetween(a, b);
    world.suspend(10_000);
    a.reaches(b);
    assertThat(world.term(job)).isEqualTo(1);
    b.reaches(a);
    assertThat(world.term(job)).isEqualTo(2);
    assertThat(world.members(job)).containsExactly("a", "b");
  }

  @Test
  void whoeverCannotHaveHeardTheQuestionIsAskedAgain() {
    GangWorld.Daemon a = world.reachable("a", 1);
    GangWorld.Daemon b = world.reachable("b", 1);
    String job = brokenBetween(a, b);
    b.disconnect();
    b.connect();
    a.reaches(b);
    int asked = b.probes().size();
    world.advance(3_500);
    assertThat(b.probes()).hasSize(asked + 1);
    b.reaches(a);
    assertThat(world.term(job)).isEqualTo(2);
    assertThat(world.members(job)).containsExactly("a", "b");
  }

  @Test
  void aQuestionThatWasNeverSentIsAskedAgain() {
    GangWorld.Daemon a = world.reachable("a", 1);
    GangWorld.Daemon b =
        world.worker(
            "b", 1, hello -> hello.setAdvertiseHost("b.lan").setProbePort(7_000).setDraining(true));
    String job = world.submit(2, 2);
    // Asks, in a transaction that fails.
    world.fail(s -> s.draining("b", 1, Draining.newBuilder().setOver(true).build(), world.now()));
    assertThat(a.probes()).isEmpty();
    world.advance(1_500);
    meet(a, b);
    assertThat(world.members(job)).containsExactly("a", "b");
  }

  /** A gang of these two, each on a machine of its own, whose group broke; they try each other. */
  private String brokenBetween(GangWorld.Daemon a, GangWorld.Daemon b) {
    String job = gang(2, a, b);
    a.broke(a.lease());
    world.advance(300);
    return job;
  }

  // ---- Growth

  @Test
  void aGangGrowsWhenAWorkerHasRoomAndIsReady() {
    GangWorld.Daemon a = onHost("a", 1);
    String job = world.submit(1, 3);
    world.form(job, 0);
    GangWorld.Daemon b = onHost("b", 1);
    assertThat(b.last().getPrepare().getAssignment().getJoins()).isTrue();
    assertThat(b.last().getPrepare().getAssignment().getCheckpointsList()).isEmpty();
    world.advance(6_000);
    assertThat(world.term(job)).isEqualTo(1);
    b.prepared.add(job);
    b.beat();
    assertThat(world.members(job)).containsExactly("a", "b");
    assertThat(a.offer().hasContinues()).isTrue();
    assertThat(a.offer().getAssignment().getJoins()).isFalse();
    assertThat(b.offer().hasContinues()).isFalse();
    assertThat(b.offer().getAssignment().getJoins()).isTrue();
    // It keeps what it has prepared.
    assertThat(world.effects).noneMatch(GangPlacementTest::isUnprepare);
    assertThat(world.events(job, "regrouped")).containsExactly("replicas: 2 of 3 on a, b; b joins");
    // It grows again only once this group stands.
    GangWorld.Daemon c = onHost("c", 1);
    assertThat(c.last().hasPrepare()).isFalse();
    b.prepared.clear();
    world.form(job, 7);
    world.advance(300);
    c.prepared.add(job);
    c.beat();
    assertThat(world.members(job)).containsExactly("a", "b", "c");
  }

  @Test
  void aJoinerThatHasNoStateYetCannotGoOnAlone() {
    GangWorld.Daemon a = onHost("a", 1);
    String job = world.submit(1, 2);
    world.form(job, 0);
    GangWorld.Daemon b = onHost("b", 1);
    b.prepared.add(job);
    b.beat();
    assertThat(world.term(job)).isEqualTo(2);
    a.drain();
    assertThat(world.term(job)).isEqualTo(2);
    world.form(job, 7);
    // Now it has it.
    assertThat(world.members(job)).containsExactly("b");
  }

  @Test
  void roomThatAWaitingJobTakesIsNotForGrowth() {
    onHost("a", 1);
    String gang = world.submit(1, 3);
    world.form(gang, 0);
    String waiting = world.submit(1, 1);
    GangWorld.Daemon b = onHost("b", 1);
    assertThat(world.members(waiting)).containsExactly("b");
    assertThat(b.last().hasPrepare()).isFalse();
  }

  @Test
  void aJoinerWhoseRoomIsTakenMeanwhileIsTold() {
    onHost("a", 1);
    String gang = world.submit(1, 3);
    world.form(gang, 0);
    GangWorld.Daemon b = onHost("b", 1);
    String other = world.submit(1, 1);
    assertThat(world.members(other)).containsExactly("b");
    assertThat(b.last().hasOffer()).isTrue();
    b.prepared.add(gang);
    b.beat();
    assertThat(world.members(gang)).containsExactly("a");
  }

  @Test
  void whatAHeartbeatSaysOfItsLibtorchLetsAWorkerTakeReplicas() {
    GangWorld.Daemon a = withoutLibtorch("a", 2);
    String job = world.submit(2, 2);
    assertThat(world.why(job)).contains("the libtorch of a has no collectives");
    a.libtorch = "2.10";
    a.beat();
    assertThat(world.why(job)).contains("the libtorch of a has no collectives");
    a.replicas = true;
    a.beat();
    assertThat(world.members(job)).containsExactly("a", "a");
    assertThat(world.ask(Scheduler::workers).get(0).getMachine().getLibtorch()).isEqualTo("2.10");
  }

  @Test
  void aGangGrowsByAWorkerWhoseHeartbeatTellsTheSameLibtorch() {
    onHost("a", 1);
    String job = world.submit(1, 3);
    world.form(job, 0);
    GangWorld.Daemon b = withoutLibtorch("b", 1);
    GangWorld.Daemon c = withoutLibtorch("c", 1);
    b.libtorch = "2.9";
    b.replicas = true;
    b.beat();
    assertThat(preparations()).isZero();
    c.libtorch = "2.10";
    c.replicas = true;
    c.beat();
    assertThat(c.last().getPrepare().getAssignment().getJoins()).isTrue();
    assertThat(preparations()).isEqualTo(1);
  }

  /** A worker that has not loaded its libtorch yet. */
  private GangWorld.Daemon withoutLibtorch(String id, int slots) {
    return world.worker(
        id,
        slots,
        hello -> {
          hello.setHostId("shared").setReplicas(false);
          hello.getMachineBuilder().clearLibtorch();
        });
  }

  @Test
  void growthOverMachinesIsProbedFirst() {
    GangWorld.Daemon a = world.reachable("a", 1);
    String job = world.submit(1, 2);
    world.form(job, 0);
    GangWorld.Daemon b = world.reachable("b", 1);
    assertThat(b.last().hasProbe()).isTrue();
    meet(a, b);
    assertThat(b.last().hasPrepare()).isTrue();
    b.prepared.add(job);
    b.beat();
    assertThat(world.members(job)).containsExactly("a", "b");
    assertThat(a.offer().getAssignment().getAddress()).isEqualTo("a.lan");
  }

  @Test
  void whoeverLosesReplicasAgainAndAgainIsAskedLater() {
    GangWorld.Daemon a = world.worker("a", 2);
    String job = world.submit(1, 2);
    world.form(job, 0);
    loseRankOne(job);
    world.form(job, 5);
    world.advance(300);
    assertThat(preparations()).isEqualTo(1);
    a.prepared.add(job);
    a.beat();
    a.prepared.clear();
    assertThat(world.members(job)).containsExactly("a", "a");
    world.form(job, 6);
    loseRankOne(job);
    world.form(job, 7);
    world.advance(4_000);
    assertThat(preparations()).isEqualTo(1);
    world.advance(12_000);
    assertThat(preparations()).isEqualTo(2);
  }

  private void loseRankOne(String job) {
    world.finish(
        world.leases(job).get(1), dev.baton.v1.AttemptOutcome.ATTEMPT_OUTCOME_WORKER_ERROR);
  }

  private long preparations() {
    return world.effects.stream().filter(GangPlacementTest::isPrepare).count();
  }

  private static boolean isUnprepare(Effect effect) {
    return effect instanceof Effect.Send send && send.message().hasUnprepare();
  }

  private static boolean isPrepare(Effect effect) {
    return effect instanceof Effect.Send send && send.message().hasPrepare();
  }
}
