package dev.baton.worker.data;

import dev.baton.dataset.DatasetException;
import dev.baton.dataset.Picture;
import dev.baton.dataset.SplitReader;
import dev.baton.worker.trainer.TrainingException;
import java.io.IOException;

/**
 * From a stored picture to a sample: decoded, gray repeated to the data set's channels, resized.
 *
 * @param channels of every sample
 * @param height of every sample
 * @param width of every sample
 * @param resize what the transforms ask for
 */
record PictureDecoding(int channels, int height, int width, Resizing resize) {

  int sampleBytes() {
    return channels * height * width;
  }

  /**
   * A sample's bytes, {@code [channels, height, width]}.
   *
   * @throws TrainingException where the picture does not decode or comes out in another shape
   */
  byte[] decode(SplitReader reader, int index) throws IOException {
    Picture picture;
    try {
      picture = resize.apply(reader.read(index).withChannels(channels));
    } catch (DatasetException e) {
      throw TrainingException.userError(String.valueOf(e.getMessage()));
    }
    if (picture.channels() != channels || picture.height() != height || picture.width() != width) {
      throw TrainingException.userError(
          String.format(
              "%s is %dx%dx%d, others are %dx%dx%d; add a resize to data.transforms:"
                  + " {resize: {size: [%d, %d]}}",
              reader.name(index),
              picture.channels(),
              picture.height(),
              picture.width(),
              channels,
              height,
              width,
              height,
              width));
    }
    return picture.pixels();
  }
}
