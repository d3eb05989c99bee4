/** Baton. */
@NullMarked
package dev.baton.coordinator;

import org.jspecify.annotations.NullMarked;
