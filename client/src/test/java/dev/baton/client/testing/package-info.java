/** A coordinator, an object store and a clock for tests. */
@NullMarked
package dev.baton.client.testing;

import org.jspecify.annotations.NullMarked;
