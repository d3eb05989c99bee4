package dev.baton.worker.trainer;

import dev.baton.v1.JobSpec;
import dev.baton.worker.data.SampleFormat;
import java.util.concurrent.locks.LockSupport;

/** The trainer process as it is, but for the engine and the data. */
final class FakeTrainerMain {
  /** Long enough that an order finds the run under way. */
  private static final long STEP_NANOS = 500_000;

  private FakeTrainerMain() {}

  public static void main(String[] args) {
    TrainerMain.main(args, FakeEngines::new, run -> data(run.getSpec()));
  }

  private static FakeData data(JobSpec spec) {
    if (spec.getName().equals("defect")) {
      throw new IllegalStateException("a defect in opening the data");
    }
    return new FakeData(10, spec.getTraining().getMaxSteps(), 2);
  }

  private static final class FakeEngines implements EngineFactory {
    @Override
    public String libtorch() {
      return "none";
    }

    @Override
    public boolean hasReplicas() {
      return false;
    }

    @Override
    public String kind(String device) {
      return FakeEngine.KIND;
    }

    @Override
    public Engine create(JobSpec spec, SampleFormat format, String device) {
      if (spec.getName().equals("unfit")) {
        throw TrainingException.userError("model and data do not fit");
      }
      return new FakeEngine((training, batch, engine) -> LockSupport.parkNanos(STEP_NANOS));
    }
  }
}
