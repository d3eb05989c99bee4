/** What the work directory keeps between jobs. */
@NullMarked
package dev.baton.worker.cache;

import org.jspecify.annotations.NullMarked;
