package dev.baton.coordinator.store;

import com.google.protobuf.InvalidProtocolBufferException;
import com.google.protobuf.Parser;

/** Messages as the database keeps them: their serialised bytes. */
final class Protos {
  private Protos() {}

  static <M> M parse(Parser<M> parser, byte[] bytes) {
    try {
      return parser.parseFrom(bytes);
    } catch (InvalidProtocolBufferException e) {
      throw new IllegalStateException("a damaged message in the database", e);
    }
  }
}
