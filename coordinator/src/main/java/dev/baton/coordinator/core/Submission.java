package dev.baton.coordinator.core;

import dev.baton.v1.JobSpec;

/**
 * What never changes about a job.
 *
 * @param seq the order of submission, unique
 * @param requestId the submitter's, unique: a repeated submission finds the job that the first made
 * @param spec with every default filled in
 * @param specDigest lower-case hexadecimal SHA-256 of the stored spec
 */
public record Submission(
    long seq, String requestId, JobSpec spec, String specDigest, long createdAtMs) {}
