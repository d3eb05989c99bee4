/** Files over presigned URLs: checksummed, resumable, multipart. */
@NullMarked
package dev.baton.transfer;

import org.jspecify.annotations.NullMarked;
