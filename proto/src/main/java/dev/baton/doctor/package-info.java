/** What is wrong with a set-up, and what to do: {@code baton doctor}'s checks that parts share. */
@NullMarked
package dev.baton.doctor;

import org.jspecify.annotations.NullMarked;
