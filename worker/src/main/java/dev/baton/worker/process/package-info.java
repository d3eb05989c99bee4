/** Trainers as child processes: what they are started with, and how they ended. */
@NullMarked
package dev.baton.worker.process;

import org.jspecify.annotations.NullMarked;
