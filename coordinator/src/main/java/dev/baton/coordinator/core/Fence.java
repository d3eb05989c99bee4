package dev.baton.coordinator.core;

/**
 * The condition of every write to a job: that its newest term and its lease are still these.
 *
 * @param leaseId empty where the job must have no lease
 */
public record Fence(String jobId, long term, String leaseId) {}
