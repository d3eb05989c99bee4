package dev.baton.worker;

import dev.baton.worker.testing.FakeTrainer;

/** The worker's own main, with trainers that train nothing. */
final class WorkerWithFakeTrainers {
  private WorkerWithFakeTrainers() {}

  public static void main(String[] args) {
    System.exit(Main.commandLine(new WorkerCommand(FakeTrainer.class.getName())).execute(args));
  }
}
