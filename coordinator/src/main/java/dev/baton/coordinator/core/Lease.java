package dev.baton.coordinator.core;

/**
 * A worker's right to run a job, as it is stored. Its deadline is not: renewals stay in memory.
 *
 * @param term the fencing token: raised by one with each new lease of the job
 * @param leaseId random
 * @param workerId random per start of the worker
 * @param workerName a label
 */
public record Lease(long term, String leaseId, String workerId, String workerName) {}
