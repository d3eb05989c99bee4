package dev.baton.worker.trainer.torch;

/**
 * A choice among libtorch's kernels, made from shapes alone, so that every attempt of a job makes
 * the same one; timing at start would not.
 *
 * @param channelsLast pictures go through the model in the order N, H, W, C on a CPU: max pooling
 *     is many times faster so, a ResNet as a whole by a tenth
 * @param oneDnn convolutions through oneDNN; for a handful of small pictures its preparation costs
 *     more than it saves
 */
record KernelChoice(boolean channelsLast, boolean oneDnn) {
  static final KernelChoice DEFAULT = new KernelChoice(false, true);
}
