/** Trainers as child processes: how they start, speak, print and end. */
@NullMarked
package dev.baton.worker.process;

import org.jspecify.annotations.NullMarked;
