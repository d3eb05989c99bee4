package dev.baton.client.jobfile;

/** Where a value was written; {@code line} counts from 1, 0 where lines mean nothing. */
record Place(String source, int line) {
  @Override
  public String toString() {
    return line == 0 ? source : source + ":" + line;
  }
}
