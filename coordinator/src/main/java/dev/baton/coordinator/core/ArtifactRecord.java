package dev.baton.coordinator.core;

/** A file that a job left. (jobId, name) is unique. */
public record ArtifactRecord(
    String jobId, String name, long bytes, String sha256, String objectKey, long createdAtMs) {}
