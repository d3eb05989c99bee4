package dev.baton.coordinator.core;

/**
 * The time of a call.
 *
 * @param nanos monotonic; leases are counted in it
 * @param epochMs for people, and for what must outlive a restart
 */
public record Now(long nanos, long epochMs) {}
