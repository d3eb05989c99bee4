/** Where checkpoints, data sets and artifacts lie: the embedded S3 server, or a foreign one. */
@NullMarked
package dev.baton.coordinator.objectstore;

import org.jspecify.annotations.NullMarked;
