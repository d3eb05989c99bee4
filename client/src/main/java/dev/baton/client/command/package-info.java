/** The verbs of the command line, one class each, and how they end. */
@NullMarked
package dev.baton.client.command;

import org.jspecify.annotations.NullMarked;
