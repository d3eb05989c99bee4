@NullMarked
package dev.baton.worker.checkpoint;

import org.jspecify.annotations.NullMarked;
