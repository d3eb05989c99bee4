/**
 * The engine in libtorch; the only package with native types. Whatever a step makes lives in that
 * step's {@link org.bytedeco.javacpp.PointerScope}; what outlives it is kept by name in an {@link
 * dev.baton.worker.trainer.torch.Owned} and freed by its owner.
 */
@NullMarked
package dev.baton.worker.trainer.torch;

import org.jspecify.annotations.NullMarked;
