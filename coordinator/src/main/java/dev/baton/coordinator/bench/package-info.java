/** baton bench coordinator. */
@NullMarked
package dev.baton.coordinator.bench;

import org.jspecify.annotations.NullMarked;
