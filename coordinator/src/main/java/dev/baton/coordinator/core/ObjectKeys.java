package dev.baton.coordinator.core;

import java.security.SecureRandom;
import java.util.HexFormat;
import java.util.List;
import java.util.regex.Pattern;

/**
 * Names of objects in the store. A key holds the job, the term and a random part, never the step
 * alone, so that a late upload overwrites nothing.
 */
public final class ObjectKeys {
  private static final String JOBS = "jobs/";
  private static final String DATASETS = "datasets/";
  private static final Pattern FORM =
      Pattern.compile("(" + JOBS + "[^/]+/[0-9]+/|" + DATASETS + ")[0-9a-f]{32}");
  private static final SecureRandom RANDOM = new SecureRandom();

  private ObjectKeys() {}

  /** Whether a key is of the form that is made here: a bucket may hold what others put there. */
  public static boolean isOne(String key) {
    return FORM.matcher(key).matches();
  }

  /** What every key begins with, one or the other. */
  public static List<String> prefixes() {
    return List.of(JOBS, DATASETS);
  }

  /** A new key for a checkpoint or an artifact of a job, written under a term. */
  public static String forJob(String jobId, long term) {
    return jobPrefix(jobId) + term + "/" + randomPart();
  }

  /** What the keys of a job's objects begin with. */
  public static String jobPrefix(String jobId) {
    return JOBS + jobId + "/";
  }

  /** A new key for a file of a data set. */
  public static String forDataset() {
    return DATASETS + randomPart();
  }

  private static String randomPart() {
    byte[] bytes = new byte[16];
    RANDOM.nextBytes(bytes);
    return HexFormat.of().formatHex(bytes);
  }
}
