package dev.baton.worker.trainer.torch;

import java.util.ArrayList;
import java.util.List;
import org.bytedeco.javacpp.Pointer;

/** Native objects that outlive the scope they are made in, freed together, last first. */
final class Owned implements AutoCloseable {
  private final List<Pointer> pointers = new ArrayList<>();

  /** Takes ownership: the object survives the scope that is open. */
  <P extends Pointer> P keep(P pointer) {
    pointer.retainReference();
    pointers.add(pointer);
    return pointer;
  }

  @Override
  public void close() {
    for (int i = pointers.size() - 1; i >= 0; i--) {
      pointers.get(i).releaseReference();
    }
    pointers.clear();
  }
}
