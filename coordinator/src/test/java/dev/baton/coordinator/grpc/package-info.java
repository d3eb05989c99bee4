@NullMarked
package dev.baton.coordinator.grpc;

import org.jspecify.annotations.NullMarked;
