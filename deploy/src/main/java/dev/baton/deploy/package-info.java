/**
 * Drives the packaged parts as real processes: quickstart, GPU check, preemption benchmark,
 * end-to-end tests.
 */
@NullMarked
package dev.baton.deploy;

import org.jspecify.annotations.NullMarked;
