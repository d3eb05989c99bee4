/** What people and scripts read: tables, JSON, units, progress lines. */
@NullMarked
package dev.baton.client.output;

import org.jspecify.annotations.NullMarked;
