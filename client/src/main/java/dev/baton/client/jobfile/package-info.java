/** Job files: YAML read into the message {@code JobSpec}, with errors that name line and key. */
@NullMarked
package dev.baton.client.jobfile;

import org.jspecify.annotations.NullMarked;
