/** What the coordinator is started with: flags, the configuration file, and their checks. */
@NullMarked
package dev.baton.coordinator.config;

import org.jspecify.annotations.NullMarked;
