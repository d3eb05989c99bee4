/**
 * When a worker works, and when it goes: the machine's end, a cloud's notice that it takes the
 * machine away, idleness, hours of the day; and what is run when it has gone.
 */
@NullMarked
package dev.baton.worker.leaving;

import org.jspecify.annotations.NullMarked;
