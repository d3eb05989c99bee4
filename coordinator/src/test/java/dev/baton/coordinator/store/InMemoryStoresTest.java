package dev.baton.coordinator.store;

import dev.baton.coordinator.testing.InMemoryStores;

/** The contract on the fake that the core's tests stand on. */
final class InMemoryStoresTest extends StoreContract {
  @Override
  Subject open() {
    var stores = new InMemoryStores();
    return new Subject(stores, stores.stores());
  }

  @Override
  void close() {}
}
