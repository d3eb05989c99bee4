package dev.baton.coordinator.core;

import java.util.HashMap;
import java.util.Map;

/** How the replicas of a term get on together, where the job may have more than one. In memory. */
final class Group {
  /** After it broke, for news of who is missing. */
  static final long NEWS_NANOS = 250_000_000;

  /** The replicas have a state in memory, from the term before. */
  boolean follows;

  /** GroupReady was sent: they are forming the group, or have. */
  boolean ready;

  /** Whoever does not wait for the others by then is dropped; {@link Long#MAX_VALUE}: no limit. */
  long formByNanos = Long.MAX_VALUE;

  /** A replica says that the group cannot go on. */
  boolean broken;

  /** What it said. */
  String brokenMessage = "";

  /** When it is decided who goes on after that. */
  long decideAtNanos = Long.MAX_VALUE;

  /** Its workers try whether they reach each other. */
  boolean probing;

  /** Since when. */
  long probingSinceNanos;

  /** They have, since it broke. */
  boolean probed;

  /** When to find out whether silence between its machines is why it makes no step. */
  long suspectNanos = Long.MAX_VALUE;

  /** Times in a row that a group broke with nobody missing and before it had made a step. */
  int fruitless;

  /** Rank 0 was told to hand over, and must have done it by then. */
  long handOverByNanos = Long.MAX_VALUE;

  /** When the worker that makes itself ready to join must have done it. */
  long joinByNanos = Long.MIN_VALUE;

  /** Workers that lost a replica of this job, and until when they are not asked to join. */
  final Map<String, Long> avoidUntil = new HashMap<>();

  /** How often each of them did. */
  final Map<String, Integer> losses = new HashMap<>();

  /** A replica says that it cannot go on, for the reason given. */
  void breaks(String message, Now now) {
    if (!broken) {
      broken = true;
      brokenMessage = message;
      decideAtNanos = now.nanos() + (NEWS_NANOS << Math.min(fruitless, 5));
    }
  }
}
