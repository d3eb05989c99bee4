/** What a run leaves on disk: its checkpoints, and the model in the formats that others read. */
@NullMarked
package dev.baton.worker.checkpoint;

import org.jspecify.annotations.NullMarked;
