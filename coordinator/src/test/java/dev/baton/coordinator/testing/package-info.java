/** Fakes that stand behind the core's ports in tests. */
@NullMarked
package dev.baton.coordinator.testing;

import org.jspecify.annotations.NullMarked;
