/** Tokens and the roles they carry. Knows neither gRPC nor the database. */
@NullMarked
package dev.baton.coordinator.auth;

import org.jspecify.annotations.NullMarked;
