@NullMarked
package dev.baton.worker.trainer;

import org.jspecify.annotations.NullMarked;
