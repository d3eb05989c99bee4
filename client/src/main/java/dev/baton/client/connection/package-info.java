/** Where the coordinator is, and the calls made to it. */
@NullMarked
package dev.baton.client.connection;

import org.jspecify.annotations.NullMarked;
