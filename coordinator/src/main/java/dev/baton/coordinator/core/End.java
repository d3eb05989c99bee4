package dev.baton.coordinator.core;

import dev.baton.v1.Result;
import org.jspecify.annotations.Nullable;

/**
 * How a job ended.
 *
 * @param result of a job that SUCCEEDED, else null
 */
public record End(long atMs, @Nullable Result result) {}
