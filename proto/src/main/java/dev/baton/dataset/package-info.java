/**
 * The formats in which data sets travel: what a data set's files must look like, and readers for
 * them.
 */
@NullMarked
package dev.baton.dataset;

import org.jspecify.annotations.NullMarked;
