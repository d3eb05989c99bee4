@NullMarked
package dev.baton.coordinator.housekeeping;

import org.jspecify.annotations.NullMarked;
