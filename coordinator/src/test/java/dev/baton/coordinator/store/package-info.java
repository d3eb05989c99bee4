@NullMarked
package dev.baton.coordinator.store;

import org.jspecify.annotations.NullMarked;
