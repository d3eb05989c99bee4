/** Leases on the worker's side: sessions, heartbeats, deadlines. */
@NullMarked
package dev.baton.worker.lease;

import org.jspecify.annotations.NullMarked;
