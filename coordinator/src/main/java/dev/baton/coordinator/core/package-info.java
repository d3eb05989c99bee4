/**
 * The scheduling core: what a job is, who may run it, and when. Pure: no I/O, no clocks, no
 * threads; time and randomness are passed in, and everything outside is a port declared here.
 */
@NullMarked
package dev.baton.coordinator.core;

import org.jspecify.annotations.NullMarked;
