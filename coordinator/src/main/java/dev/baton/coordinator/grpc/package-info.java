/** The services of baton.v1: mapping between the wire and the core, and who may call what. */
@NullMarked
package dev.baton.coordinator.grpc;

import org.jspecify.annotations.NullMarked;
