/** The key and certificate by which the coordinator is known. */
@NullMarked
package dev.baton.coordinator.tls;

import org.jspecify.annotations.NullMarked;
