/** The database: SQLite behind the core's ports. The single place for java.sql. */
@NullMarked
package dev.baton.coordinator.store;

import org.jspecify.annotations.NullMarked;
