/** Stand-ins for what a worker talks to. */
@NullMarked
package dev.baton.worker.testing;

import org.jspecify.annotations.NullMarked;
