package dev.baton.worker.trainer;

import static org.assertj.core.api.Assertions.assertThat;

import dev.baton.v1.Finished;
import dev.baton.v1.JobSpec;
import dev.baton.v1.Loss;
import dev.baton.v1.MetricPoint;
import dev.baton.v1.TrainerMessage;
import dev.baton.worker.trainer.GangTrainers.Member;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Trainers as processes, in one group after the other, through losses, joins and silence. */
@Timeout(240)
final class GangTrainersTest {
  /** An epoch is of five steps, the last of them short. */
  static final int SAMPLES = 110;

  private static final int BATCH = 24;
  private static final int STEPS = 45;

  @TempDir Path dir;

  private static JobSpec job(String model, boolean exact, int epochs) {
    JobSpec.Builder job = JobSpec.newBuilder();
    job.getModelBuilder().getBuiltinBuilder().setName(model).setNumClasses(10);
    job.getTrainingBuilder()
        .setEpochs(epochs)
        .setBatchSize(BATCH)
        .setSeed(11)
        .setLogEvery(3)
        .setExact(exact)
        .setLoss(Loss.LOSS_CROSS_ENTROPY);
    job.getTrainingBuilder().getOptimizerBuilder().getSgdBuilder().setLr(0.002).setMomentum(0.9);
    job.getReplicasBuilder().setMin(1).setMax(4).setShards(4);
    job.getResourcesBuilder().setCpus(1);
    job.getCheckpointBuilder().getIntervalBuilder().setSeconds(3600);
    return job.build();
  }

  /** A job's end, and all points that it made. */
  private record Outcome(Finished finished, Map<String, MetricPoint> points, int repeated) {
    /** But for those that tell of time. */
    Map<String, Double> values() {
      Map<String, Double> values = new TreeMap<>();
      points.forEach(
          (key, point) ->
              values.put(key, TIMES.contains(point.getSeries()) ? 0 : point.getValue()));
      return values;
    }
  }

  private static final List<String> TIMES =
      List.of("train/samples_per_second", "train/data_wait", "epoch/seconds");

  private Outcome alone(JobSpec spec) throws Exception {
    try (GangTrainers gang = new GangTrainers(Files.createDirectory(dir.resolve("alone")), spec)) {
      gang.goOnToTheEnd();
      Member only = gang.start("a", false);
      assertThat(gang.term(List.of(only), false)).isZero();
      return outcome(gang);
    }
  }

  private static Outcome outcome(GangTrainers gang) {
    Finished finished = gang.finished();
    return new Outcome(finished, gang.points(finished), gang.repeated());
  }

  /** One trainer, four, three and two after losses, three, two, and another one. */
  @ParameterizedTest
  @CsvSource({"lenet, true", "mnist-cnn, true", "lenet, false"})
  void lossesJoinsAndSilence(String model, boolean exact) throws Exception {
    JobSpec spec = job(model, exact, STEPS / 5);
    Outcome expected = alone(spec);
    assertThat(expected.finished().getStep()).isEqualTo(STEPS);
    Outcome outcome;
    try (GangTrainers gang = new GangTrainers(Files.createDirectory(dir.resolve("gang")), spec)) {
      gang.goOn(8);
      Member a = gang.start("a", false);
      Member b = gang.start("b", true);
      Member c = gang.start("c", true);
      Member d = gang.start("d", true);
      assertThat(gang.term(List.of(a), false)).isZero();
      a.await(TrainerMessage::hasProgress);

      gang.announce(List.of(a, b, c, d), false);
      assertThat(gang.form()).isBetween(1L, gang.limit());
      assertThat(gang.checkpoint()).isBetween(1L, gang.limit());
      // No step after the limit is made without it: the others are sure to miss it.
      a.kill();
      gang.goOn(2);
      long broken = awaitBroken(List.of(b, c, d));
      // A rank that was not 0 is, with every point that was not committed.
      assertThat(gang.term(List.of(b, c, d), true)).isEqualTo(broken);

      c.kill();
      gang.goOn(2);
      broken = awaitBroken(List.of(b, d));
      assertThat(gang.term(List.of(d, b), true)).isEqualTo(broken);
      gang.checkpoint();

      Member e = gang.start("e", true);
      gang.announce(List.of(d, b, e), false);
      assertThat(gang.form()).isBetween(1L, gang.limit());
      gang.goOn(2);
      assertThat(e.await(TrainerMessage::hasProgress).getProgress().getReplica().getRank())
          .isEqualTo(2);

      // A member that is silent breaks nothing by itself.
      b.freeze();
      gang.goOn(2);
      if (!exact) {
        // What is under way in fast mode ends with the time-out alone.
        awaitBroken(List.of(d, e));
      }
      gang.term(List.of(d, e), true);
      gang.checkpoint();
      gang.announce(List.of(e), false);
      assertThat(gang.form()).isLessThan(STEPS);
      gang.goOnToTheEnd();
      d.close();
      outcome = outcome(gang);
      assertThat(e.log())
          .contains("replica 3 of 3: group formed at step ", "replica 2 of 2: group formed")
          .contains("replica 1 of 1: group formed at step ")
          .contains("finished after step " + STEPS);
      // The log of a rank other than 0.
      assertThat(c.log()).doesNotContain("loss").contains("group broken: rank 2 of 4");
    }
    assertThat(outcome.points().keySet()).isEqualTo(expected.points().keySet());
    if (exact) {
      assertThat(outcome.finished().getResult()).isEqualTo(expected.finished().getResult());
      assertThat(outcome.values()).isEqualTo(expected.values());
      assertThat(outcome.repeated()).isZero();
    }
  }

  /** All of them say so; the furthest step that one of them has. */
  private static long awaitBroken(List<Member> members) {
    long step = -1;
    for (Member member : members) {
      TrainerMessage broken = member.await(TrainerMessage::hasGroupBroken);
      assertThat(broken.getGroupBroken().getMessage()).contains("rank ");
      step = Math.max(step, broken.getGroupBroken().getStep());
    }
    return step;
  }

  /** The others keep the state, and one of them ends the job when rank 0 cannot. */
  @Test
  void rankZeroIsLostAtTheEnd() throws Exception {
    JobSpec spec = job("lenet", true, 4);
    Outcome expected = alone(spec);
    try (GangTrainers gang = new GangTrainers(Files.createDirectory(dir.resolve("gang")), spec)) {
      gang.goOnToTheEnd();
      Member a = gang.start("a", false);
      Member b = gang.start("b", false);
      assertThat(gang.term(List.of(a, b), false)).isZero();
      gang.finished();
      a.kill();
      b.await(m -> m.getProgress().getProgress().getStep() == expected.finished().getStep());
      assertThat(gang.term(List.of(b), true)).isEqualTo(expected.finished().getStep());
      Outcome outcome = outcome(gang);
      assertThat(outcome.finished().getResult()).isEqualTo(expected.finished().getResult());
      assertThat(outcome.values()).isEqualTo(expected.values());
    }
  }

  /** A group that is followed by another before it stands, and one whose member does not come. */
  @Test
  void groupsThatAreNotFormed() throws Exception {
    JobSpec spec = job("lenet", true, 4);
    Outcome expected = alone(spec);
    try (GangTrainers gang = new GangTrainers(Files.createDirectory(dir.resolve("gang")), spec)) {
      gang.goOnToTheEnd();
      Member a = gang.start("a", false);
      Member b = gang.start("b", false);
      Member c = gang.start("c", false);
      gang.announce(List.of(a, b, c), false);
      a.await(TrainerMessage::hasGroupWaiting);
      gang.announce(List.of(b, a, c), false);
      int port = b.await(m -> m.getGroupWaiting().getPort() > 0).getGroupWaiting().getPort();
      c.kill();
      gang.stand(port);
      awaitBroken(List.of(a, b));
      assertThat(gang.term(List.of(a, b), true)).isZero();
      assertThat(outcome(gang).finished().getResult()).isEqualTo(expected.finished().getResult());
    }
  }

  @Test
  void nobodyHasAState() throws Exception {
    try (GangTrainers gang =
        new GangTrainers(Files.createDirectory(dir.resolve("gang")), job("lenet", true, 4))) {
      gang.goOnToTheEnd();
      Member a = gang.start("a", true);
      gang.announce(List.of(a), false);
      assertThat(a.await(TrainerMessage::hasGroupWaiting).getGroupWaiting().getStep())
          .isEqualTo(-1);
      gang.stand(0);
      assertThat(a.failure()).contains("no replica has a whole state");
    }
  }
}
