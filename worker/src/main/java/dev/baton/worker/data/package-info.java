/** Data sets as trainers read them: decoded samples, their order, batches made ahead. */
@NullMarked
package dev.baton.worker.data;

import org.jspecify.annotations.NullMarked;
