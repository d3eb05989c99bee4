/** Numbers with a unit, as people write them. */
@NullMarked
package dev.baton.quantity;

import org.jspecify.annotations.NullMarked;
