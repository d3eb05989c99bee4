package dev.baton.worker.trainer.torch;

import static org.assertj.core.api.Assertions.assertThat;

import java.net.ServerSocket;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** Collectives between real processes, of which some are lost. */
@Timeout(120)
class ReplicaGroupTest {
  private final List<Rank> ranks = new ArrayList<>();

  @AfterEach
  void end() {
    Rank.closeAll(ranks);
  }

  private static void form(List<Rank> members, int timeoutMillis) throws Exception {
    Rank.group(members, "form", timeoutMillis, List.of());
    assertThat(Rank.answers(members)).containsOnly("formed");
  }

  @Test
  void collectives() throws Exception {
    ranks.addAll(Rank.start(3));
    form(ranks, 30_000);
    assertThat(Rank.ask(ranks, "collectives"))
        .containsExactly(
            "a2a[0,1,100,101,200,201] split[0,200] all[0,100,200] root[200] sum[6]",
            "a2a[2,3,102,103,202,203] split[1,201] all[0,100,200] root[200] sum[6]",
            "a2a[4,5,104,105,204,205] split[2,202] all[0,100,200] root[200] sum[6]");
  }

  /** Rank 0, which hosts the store, is killed; then a peer freezes; then one is told to leave. */
  @Test
  void brokenGroups() throws Exception {
    ranks.addAll(Rank.start(4));
    form(ranks, 60_000);
    ranks.forEach(rank -> rank.order("forever"));
    for (Rank rank : ranks) {
      assertThat(rank.line()).isEqualTo("exchanging");
    }
    ranks.get(0).kill();
    List<Rank> left = ranks.subList(1, 4);
    for (Rank rank : left) {
      assertThat(rank.line()).startsWith("! rank").contains("all-gather");
    }

    form(left, 3_000);
    assertThat(Rank.ask(left, "collectives")).allMatch(seen -> seen.endsWith("sum[6]"));
    ranks.get(3).freeze();
    left = ranks.subList(1, 3);
    left.forEach(rank -> rank.order("forever"));
    for (Rank rank : left) {
      assertThat(rank.line()).isEqualTo("exchanging");
      assertThat(rank.line()).startsWith("! rank");
    }

    form(left, 60_000);
    Rank told = left.get(0);
    assertThat(told.ask("abort-soon")).isEqualTo("soon");
    told.order("forever");
    assertThat(told.line()).isEqualTo("exchanging");
    // The other never answers it.
    assertThat(told.line()).startsWith("! rank 0 of 2, all-gather: the group was told to end");
    left.get(1).ask("close");
    form(left, 60_000);
    assertThat(Rank.ask(left, "collectives")).allMatch(seen -> seen.endsWith("sum[3]"));
  }

  @Test
  void rankZeroListensAtTheFirstPortThatIsFree() throws Exception {
    ranks.addAll(Rank.start(3));
    try (ServerSocket taken = new ServerSocket(0)) {
      int first = taken.getLocalPort();
      ranks.get(0).order("form 127.0.0.1 %d-%d 0 2 5000".formatted(first, first));
      assertThat(ranks.get(0).line())
          .startsWith("? ")
          .contains("none of the ports %d to %d is free".formatted(first, first));
      List<Rank> two = List.of(ranks.get(0), ranks.get(1));
      String range = first + "-" + Math.min(65535, first + 50);
      int port = Rank.group(two, "form", range, 60_000, List.of());
      assertThat(Rank.answers(two)).containsOnly("formed");
      assertThat(port).isGreaterThan(first);

      // The port is free again although the member that is silent holds the group's end up.
      ranks.get(1).freeze();
      assertThat(ranks.get(0).ask("abort-soon")).isEqualTo("soon");
      ranks.get(0).order("forever");
      assertThat(ranks.get(0).line()).isEqualTo("exchanging");
      assertThat(ranks.get(0).line()).startsWith("! rank 0 of 2");
      two = List.of(ranks.get(0), ranks.get(2));
      assertThat(Rank.group(two, "form", port + "-" + port, 60_000, List.of())).isEqualTo(port);
      assertThat(Rank.answers(two)).containsOnly("formed");
      assertThat(Rank.ask(two, "collectives")).allMatch(seen -> seen.endsWith("sum[3]"));
    }
  }

  @Test
  void aGroupThatIsNotThereInTime() throws Exception {
    ranks.addAll(Rank.start(1));
    Rank alone = ranks.get(0);
    alone.order("form 127.0.0.1 0 0 2 1500");
    assertThat(alone.line()).startsWith("listening ");
    assertThat(alone.line()).startsWith("! rank 0 of 2 forms the group at 127.0.0.1:0: ");
    alone.order("form 127.0.0.1 1 1 2 1500");
    assertThat(alone.line()).startsWith("! rank 1 of 2 forms the group at 127.0.0.1:1: ");
  }
}
