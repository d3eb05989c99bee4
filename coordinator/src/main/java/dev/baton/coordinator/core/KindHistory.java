package dev.baton.coordinator.core;

/**
 * What a job's bits depended on.
 *
 * @param first the kind that its first attempt ran on; empty before
 * @param machine what the core could see of that attempt's machine
 * @param changed whether a later attempt ran on another kind
 */
public record KindHistory(String first, String machine, boolean changed) {
  public static final KindHistory NONE = new KindHistory("", "", false);
}
