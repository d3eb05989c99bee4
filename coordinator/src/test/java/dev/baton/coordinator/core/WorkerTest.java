package dev.baton.coordinator.core;

import static org.assertj.core.api.Assertions.assertThat;

import dev.baton.v1.Heartbeat;
import dev.baton.v1.Hello;
import dev.baton.v1.Machine;
import org.junit.jupiter.api.Test;

final class WorkerTest {
  private final Worker worker = new Worker("w", "w");

  private boolean learns(String libtorch, boolean replicas) {
    return worker.learn(Heartbeat.newBuilder().setLibtorch(libtorch).setReplicas(replicas).build());
  }

  @Test
  void whatItFindsOutAboutItsLibtorchIsNewOnce() {
    worker.greet(
        Hello.newBuilder().setSlots(1).setMachine(Machine.newBuilder().setCpus(4)).build(),
        new Now(0, 0));
    assertThat(learns("", false)).isFalse();
    assertThat(learns("2.10", false)).isTrue();
    assertThat(worker.machine.getLibtorch()).isEqualTo("2.10");
    assertThat(worker.machine.getCpus()).isEqualTo(4);
    assertThat(worker.takesReplicas).isFalse();
    assertThat(learns("2.10", true)).isTrue();
    assertThat(worker.takesReplicas).isTrue();
    assertThat(learns("2.10", true)).isFalse();
  }

  @Test
  void aHeartbeatThatSaysNothingTakesNothingBack() {
    worker.greet(
        Hello.newBuilder()
            .setSlots(1)
            .setReplicas(true)
            .setMachine(Machine.newBuilder().setLibtorch("2.10"))
            .build(),
        new Now(0, 0));
    assertThat(learns("", false)).isFalse();
    assertThat(worker.machine.getLibtorch()).isEqualTo("2.10");
    assertThat(worker.takesReplicas).isTrue();
  }
}
