/** The coordinator as gRPC reaches it. */
@NullMarked
package dev.baton.worker.grpc;

import org.jspecify.annotations.NullMarked;
