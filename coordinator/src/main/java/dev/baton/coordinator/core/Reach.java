package dev.baton.coordinator.core;

import dev.baton.v1.CoordinatorMessage;
import dev.baton.v1.Probe;
import dev.baton.v1.ProbeTarget;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.HashSet;
import java.util.Iterator;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.random.RandomGenerator;
import org.jspecify.annotations.Nullable;

/** Which workers' machines reach each other, as far as they have tried. */
final class Reach {
  private static final long SECOND = 1_000_000_000L;

  /** How long an answer to a probe is awaited. */
  static final long ANSWER_NANOS = 3 * SECOND;

  private static final long REACHED_NANOS = 600 * SECOND;
  private static final long NOT_REACHED_NANOS = 60 * SECOND;

  /** What is known of a pair of workers. */
  enum Pair {
    REACHED,
    NOT_REACHED,
    UNKNOWN
  }

  private record Way(String from, String to) {}

  private record Known(boolean reached, long untilNanos) {}

  /**
   * A probe.
   *
   * @param session in which it was sent: where that has broken, question or answer may be lost
   */
  private record Asked(Worker from, long session, List<String> to, long untilNanos) {
    boolean couldBeAnswered() {
      return from.connected && from.session == session;
    }

    Asked until(long nanos) {
      return new Asked(from, session, to, nanos);
    }
  }

  private final Outbox outbox;
  private final Map<Way, Known> known = new HashMap<>();
  private final Map<Long, Asked> asked = new HashMap<>();
  private final Set<Way> underWay = new HashSet<>();

  /** Random at first: an answer may come to a coordinator that has started anew since. */
  private long lastProbe;

  Reach(Outbox outbox, RandomGenerator random) {
    this.outbox = outbox;
    this.lastProbe = random.nextLong() >>> 1;
  }

  /** Whether two workers reach each other, both ways, where they advertise themselves. */
  Pair between(Worker a, Worker b, Now now) {
    if (a.advertiseHost.isEmpty() || b.advertiseHost.isEmpty()) {
      return Pair.NOT_REACHED;
    }
    Pair there = way(new Way(a.id, b.id), now);
    Pair back = way(new Way(b.id, a.id), now);
    if (there == Pair.NOT_REACHED || back == Pair.NOT_REACHED) {
      return Pair.NOT_REACHED;
    }
    return there == Pair.REACHED && back == Pair.REACHED ? Pair.REACHED : Pair.UNKNOWN;
  }

  private Pair way(Way way, Now now) {
    Known answer = known.get(way);
    if (answer == null || answer.untilNanos() <= now.nanos()) {
      return Pair.UNKNOWN;
    }
    return answer.reached() ? Pair.REACHED : Pair.NOT_REACHED;
  }

  /** Has these workers try each of the others of which nothing is known. */
  void ask(Collection<Worker> workers, Now now) {
    expire(now);
    for (Worker from : workers) {
      List<String> to = new ArrayList<>();
      Probe.Builder probe = Probe.newBuilder();
      for (Worker target : workers) {
        Way way = new Way(from.id, target.id);
        if (from != target
            && between(from, target, now) == Pair.UNKNOWN
            && way(way, now) == Pair.UNKNOWN
            && underWay.add(way)) {
          to.add(target.id);
          probe.addTargets(
              ProbeTarget.newBuilder()
                  .setWorkerId(target.id)
                  .setHost(target.advertiseHost)
                  .setPort(target.probePort));
        }
      }
      if (!to.isEmpty()) {
        long id = ++lastProbe;
        asked.put(id, new Asked(from, from.session, to, now.nanos() + ANSWER_NANOS));
        outbox.send(from, CoordinatorMessage.newBuilder().setProbe(probe.setProbeId(id)).build());
      }
    }
  }

  /** An answer; one that nobody waits for any more says nothing. */
  void answer(String from, long probeId, Collection<String> reached, Now now) {
    @Nullable Asked question = asked.get(probeId);
    if (question != null && question.from().id.equals(from)) {
      asked.remove(probeId);
      note(question, reached, now);
    }
  }

  /**
   * Who was there and has not answered in time has not reached anybody; of whom was not, nothing is
   * known.
   */
  void expire(Now now) {
    if (!asked.isEmpty()) {
      for (Iterator<Asked> all = asked.values().iterator(); all.hasNext(); ) {
        Asked question = all.next();
        if (question.untilNanos() <= now.nanos()) {
          all.remove();
          if (question.couldBeAnswered()) {
            note(question, List.of(), now);
          } else {
            question.to().forEach(to -> underWay.remove(new Way(question.from().id, to)));
          }
        }
      }
    }
  }

  /** The coordinator was away: answers may wait unread. */
  void late(Now now) {
    asked.replaceAll((id, question) -> question.until(now.nanos() + ANSWER_NANOS));
  }

  /** What was sent since the last transaction that succeeded was not: everybody is asked again. */
  void dropQuestions() {
    asked.clear();
    underWay.clear();
  }

  private void note(Asked question, Collection<String> reached, Now now) {
    known.values().removeIf(answer -> answer.untilNanos() <= now.nanos());
    for (String to : question.to()) {
      Way way = new Way(question.from().id, to);
      underWay.remove(way);
      boolean yes = reached.contains(to);
      known.put(way, new Known(yes, now.nanos() + (yes ? REACHED_NANOS : NOT_REACHED_NANOS)));
    }
  }

  /** What is known of these workers' pairs may be wrong: they are to try again. */
  void forget(Collection<Worker> workers) {
    Set<String> ids = new HashSet<>();
    workers.forEach(worker -> ids.add(worker.id));
    known.keySet().removeIf(way -> ids.contains(way.from()) && ids.contains(way.to()));
    asked.values().removeIf(question -> ids.contains(question.from().id));
    underWay.removeIf(way -> ids.contains(way.from()));
  }
}
