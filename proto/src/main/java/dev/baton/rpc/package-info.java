/** gRPC channels and credentials, for clients and workers alike. */
@NullMarked
package dev.baton.rpc;

import org.jspecify.annotations.NullMarked;
