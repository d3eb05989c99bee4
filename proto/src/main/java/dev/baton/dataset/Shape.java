package dev.baton.dataset;

/**
 * What pictures have in common.
 *
 * @param channels the most that one has
 * @param height 0 where it differs
 * @param width 0 where it differs
 */
record Shape(int channels, int height, int width) {

  static Shape of(Picture picture) {
    return new Shape(picture.channels(), picture.height(), picture.width());
  }

  Shape and(Shape other) {
    return new Shape(
        Math.max(channels, other.channels),
        height == other.height ? height : 0,
        width == other.width ? width : 0);
  }
}
