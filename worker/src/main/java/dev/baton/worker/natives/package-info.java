/**
 * The native libraries that a trainer loads: which, from where, and whether they fit this machine.
 */
@NullMarked
package dev.baton.worker.natives;

import org.jspecify.annotations.NullMarked;
