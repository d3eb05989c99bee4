package dev.baton.dataset;

import java.io.Closeable;
import java.io.IOException;

/** The pictures of one split, in the split's order. Any number of threads may read at a time. */
public interface SplitReader extends Closeable {
  int size();

  /** The class index of a sample, from 0. */
  int label(int index);

  /** For messages. */
  String name(int index);

  /**
   * Decodes a picture.
   *
   * @throws DatasetException where it does not decode; the message names it
   */
  Picture read(int index) throws IOException;
}
