@NullMarked
package dev.baton.coordinator.config;

import org.jspecify.annotations.NullMarked;
