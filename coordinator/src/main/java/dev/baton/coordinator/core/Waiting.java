package dev.baton.coordinator.core;

/**
 * A job that waits for a worker.
 *
 * @param seq its place in the queue
 * @param preferKind the machine's kind that it had so far; empty: none
 * @param avoidWorkerId the one that had trouble with it; empty: none
 * @param notBeforeNanos it is not offered before; {@link Long#MIN_VALUE}: at once
 */
record Waiting(
    String jobId,
    long seq,
    Requirements needs,
    String preferKind,
    String avoidWorkerId,
    long notBeforeNanos) {}
