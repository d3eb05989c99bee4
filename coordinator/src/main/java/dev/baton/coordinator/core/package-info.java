/** Scheduling: jobs, leases, checkpoints. Pure: no I/O, no clock; ports are interfaces here. */
@NullMarked
package dev.baton.coordinator.core;

import org.jspecify.annotations.NullMarked;
