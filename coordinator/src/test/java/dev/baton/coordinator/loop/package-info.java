@NullMarked
package dev.baton.coordinator.loop;

import org.jspecify.annotations.NullMarked;
