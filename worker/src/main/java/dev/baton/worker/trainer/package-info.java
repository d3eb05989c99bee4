/** The trainer process: the training run, without native types. */
@NullMarked
package dev.baton.worker.trainer;

import org.jspecify.annotations.NullMarked;
