/** The worker daemon: what it holds, in what order it does things. */
@NullMarked
package dev.baton.worker.daemon;

import org.jspecify.annotations.NullMarked;
