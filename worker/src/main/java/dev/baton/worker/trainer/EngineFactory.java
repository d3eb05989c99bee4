package dev.baton.worker.trainer;

import dev.baton.v1.JobSpec;
import dev.baton.worker.data.SampleFormat;

/** Makes engines; exists once the native libraries are loaded. */
public interface EngineFactory {
  /** libtorch's version. */
  String libtorch();

  /**
   * What results on this device are exact within.
   *
   * @param device {@code cpu} or {@code cuda}
   */
  String kind(String device);

  /** Whether its engines can form groups of two and more. */
  boolean hasReplicas();

  /**
   * The job's model, initialised from its seed on the CPU and moved to the device, and its
   * optimizer.
   *
   * @throws TrainingException where model and data do not fit each other
   */
  Engine create(JobSpec spec, SampleFormat format, String device);
}
