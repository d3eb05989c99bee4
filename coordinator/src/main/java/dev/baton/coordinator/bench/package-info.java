/** baton bench coordinator: a real coordinator, driven over loopback. */
@NullMarked
package dev.baton.coordinator.bench;

import org.jspecify.annotations.NullMarked;
