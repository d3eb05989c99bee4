/** What the worker is told at its start. */
@NullMarked
package dev.baton.worker.config;

import org.jspecify.annotations.NullMarked;
