package dev.baton.worker.trainer.torch;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Replicas in processes of their own: the same bits as one, however many and through losses. */
@Timeout(240)
class ReplicasTest {
  private static final List<Rank> RANKS = new ArrayList<>();

  @BeforeAll
  static void start() throws Exception {
    RANKS.addAll(Rank.start(4));
  }

  @AfterAll
  static void end() {
    Rank.closeAll(RANKS);
  }

  /** Forms a group; the step that all are at. */
  private static long join(List<Rank> members, String... states) throws Exception {
    Rank.group(members, "join", 30_000, List.of(states));
    List<String> steps = Rank.answers(members);
    assertThat(steps).containsOnly(steps.get(0));
    return Long.parseLong(steps.get(0));
  }

  private static String[] whole(int size) {
    return Collections.nCopies(size, "whole").toArray(String[]::new);
  }

  /** The third batch of an epoch is short: without batch norm, some shards are empty in it. */
  @ParameterizedTest
  @CsvSource({
    "lenet:3:32:4:exact:26:55, 5",
    "lenet:3:32:12:exact:26:55, 5",
    "mnist-cnn:1:28:4:exact:26:55, 5",
    "mnist-cnn:1:28:12:exact:26:55, 5",
    "resnet18:3:16:4:exact:26:76, 3",
    "resnet18:3:16:12:exact:26:76, 3",
  })
  void sameBitsOnAnyNumber(String description, int steps) throws Exception {
    // In a rank's process too: its environment is part of the kind.
    Rank alone = RANKS.get(0);
    alone.ask("job " + description);
    alone.ask("train " + steps);
    String expectedEval = alone.ask("evaluate");
    String expected = alone.ask("report");
    for (int size = 2; size <= 4; size++) {
      List<Rank> members = RANKS.subList(0, size);
      Rank.ask(members, "job " + description);
      assertThat(join(members, whole(size))).isZero();
      Rank.ask(members, "train " + steps);
      assertThat(Rank.ask(members, "evaluate")).as("%d replicas", size).containsOnly(expectedEval);
      assertThat(Rank.ask(members, "report")).as("%d replicas", size).containsOnly(expected);
    }
  }

  /** 1, 4, 2, 3 and 1 replicas, with losses inside a step and between two. */
  @Test
  void sameBitsThroughLossesAndJoins() throws Exception {
    String description = "resnet18:3:16:4:exact:26:76";
    List<Rank> own = new ArrayList<>(Rank.start(5));
    try {
      Rank a = own.get(0);
      Rank b = own.get(1);
      Rank e = own.get(4);
      Rank.ask(own, "job " + description);
      a.ask("train 2");

      List<Rank> four = own.subList(0, 4);
      assertThat(join(four, "whole", "stateless", "stateless", "stateless")).isEqualTo(2);
      Rank.ask(four, "train 4");
      four.forEach(rank -> rank.order("train 1000"));
      Thread.sleep(700);
      own.get(2).kill();
      own.get(3).kill();
      assertThat(a.line()).startsWith("! rank 0 of 4");
      assertThat(b.line()).startsWith("! rank 1 of 4");

      long highest = Math.max(Long.parseLong(a.ask("step")), Long.parseLong(b.ask("step")));
      List<Rank> two = List.of(b, a);
      assertThat(join(two, whole(2))).isEqualTo(highest);
      Rank.ask(two, "train " + (highest + 1));
      // As if the last all-gather had reached one of them alone.
      a.ask("save");
      Rank.ask(two, "train " + (highest + 2));
      a.ask("restore");

      List<Rank> three = List.of(e, a, b);
      assertThat(join(three, "stateless", "whole", "whole")).isEqualTo(highest + 2);
      Rank.ask(three, "train " + (highest + 3));
      e.kill();
      b.kill();
      a.order("train 1000");
      assertThat(a.line()).startsWith("! rank 1 of 3");
      a.ask("join 127.0.0.1 0 0 1 30000 whole");
      long last = highest + 5;
      a.ask("train " + last);

      Rank alone = RANKS.get(0);
      alone.ask("job " + description);
      alone.ask("train " + last);
      assertThat(a.ask("report")).isEqualTo(alone.ask("report"));
    } finally {
      Rank.closeAll(own);
    }
  }

  /** The last batch of an epoch leaves one of three replicas without a sample. */
  @ParameterizedTest
  @CsvSource({"lenet:3:32:2:fast:24:110", "linear:1:14:3:fast:24:98"})
  void fastModeAgreesWithOneReplica(String description) throws Exception {
    RANKS.get(0).ask("job " + description);
    double[] expected = numbers(RANKS.get(0).ask("losses 50"));
    int size = Integer.parseInt(description.split(":", -1)[3]);
    List<Rank> members = RANKS.subList(0, size);
    Rank.ask(members, "job " + description);
    join(members, whole(size));
    List<String> answers = Rank.ask(members, "losses 50");
    assertThat(answers).containsOnly(answers.get(0));
    double[] losses = numbers(answers.get(0));
    assertThat(losses).hasSize(50);
    for (int i = 0; i < losses.length; i++) {
      assertThat(losses[i]).as("step %d", i + 1).isCloseTo(expected[i], within(1e-5));
    }
    assertThat(Arrays.stream(losses).distinct().count()).isGreaterThan(40);
    List<String> reports = Rank.ask(members, "report");
    assertThat(reports).containsOnly(reports.get(0));
  }

  private static double[] numbers(String list) {
    return Stream.of(list.replaceAll("[\\[\\]]", "").split(", ", -1))
        .mapToDouble(Double::parseDouble)
        .toArray();
  }

  /**
   * All replicas end a fast step with rank 0's buffers, and the state before it where one is lost.
   */
  @Test
  void fastModeWithBuffersThroughALoss() throws Exception {
    String description = "resnet18:3:16:3:fast:26:76";
    List<Rank> own = new ArrayList<>(Rank.start(3));
    try {
      Rank.ask(own, "job " + description);
      join(own, whole(3));
      Rank.ask(own, "train 3");
      List<String> reports = Rank.ask(own, "report");
      assertThat(reports).containsOnly(reports.get(0));
      own.get(0).kill();
      List<Rank> left = own.subList(1, 3);
      left.forEach(rank -> rank.order("train 1000"));
      for (Rank rank : left) {
        assertThat(rank.line()).startsWith("! rank ");
      }
      assertThat(Rank.ask(left, "report")).containsOnly(reports.get(0));
      assertThat(join(left, whole(2))).isEqualTo(3);
      Rank.ask(left, "train 5");
      reports = Rank.ask(left, "report");
      assertThat(reports).containsOnly(reports.get(0));
    } finally {
      Rank.closeAll(own);
    }
  }

  /** A peer that stands still ends in the time-out's exception, in either mode. */
  @ParameterizedTest
  @CsvSource({"lenet:3:32:2:exact:24:96", "lenet:3:32:2:fast:24:96"})
  void aFrozenPeer(String description) throws Exception {
    List<Rank> own = new ArrayList<>(Rank.start(2));
    try {
      Rank.ask(own, "job " + description);
      Rank.group(own, "join", 2_000, List.of("whole", "whole"));
      Rank.answers(own);
      Rank.ask(own, "train 3");
      own.get(1).freeze();
      own.get(0).order("train 1000");
      assertThat(own.get(0).line()).startsWith("! rank 0 of 2");
      assertThat(own.get(0).ask("step")).isEqualTo("3");
      own.get(0).ask("train 4");
    } finally {
      Rank.closeAll(own);
    }
  }
}
