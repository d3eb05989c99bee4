package dev.baton.coordinator.core;

/**
 * Where a job's log ends, in bytes.
 *
 * @param inTerm of one term's part
 * @param inJob of all terms' parts, one behind the other
 */
public record LogPosition(long inTerm, long inJob) {}
