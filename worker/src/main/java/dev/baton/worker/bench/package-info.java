/** Measurements of training on this machine, and the machine's description. */
@NullMarked
package dev.baton.worker.bench;

import org.jspecify.annotations.NullMarked;
