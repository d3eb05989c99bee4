@NullMarked
package dev.baton.worker.trainer.torch;

import org.jspecify.annotations.NullMarked;
