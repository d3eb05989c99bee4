package dev.baton.coordinator.core;

import java.security.SecureRandom;
import java.util.HexFormat;

/**
 * Names of objects in the store. A key holds the job, the term and a random part, never the step
 * alone, so that a late upload overwrites nothing.
 */
public final class ObjectKeys {
  private static final SecureRandom RANDOM = new SecureRandom();

  private ObjectKeys() {}

  /** A new key for a checkpoint or an artifact of a job, written under a term. */
  public static String forJob(String jobId, long term) {
    return jobPrefix(jobId) + term + "/" + randomPart();
  }

  /** What the keys of a job's objects begin with. */
  public static String jobPrefix(String jobId) {
    return "jobs/" + jobId + "/";
  }

  /** A new key for a file of a data set. */
  public static String forDataset() {
    return "datasets/" + randomPart();
  }

  private static String randomPart() {
    byte[] bytes = new byte[16];
    RANDOM.nextBytes(bytes);
    return HexFormat.of().formatHex(bytes);
  }
}
