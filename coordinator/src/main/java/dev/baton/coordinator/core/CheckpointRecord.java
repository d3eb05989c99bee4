package dev.baton.coordinator.core;

/**
 * A committed checkpoint: the complete state of a job at a step.
 *
 * @param id that of the upload which brought it
 * @param term the one that committed it
 * @param sha256 lower-case hexadecimal, of the whole object
 */
public record CheckpointRecord(
    String id,
    String jobId,
    long term,
    long step,
    long bytes,
    String sha256,
    String objectKey,
    long committedAtMs) {}
