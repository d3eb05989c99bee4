/** The one thread that changes anything, and its groups of commands. */
@NullMarked
package dev.baton.coordinator.loop;

import org.jspecify.annotations.NullMarked;
