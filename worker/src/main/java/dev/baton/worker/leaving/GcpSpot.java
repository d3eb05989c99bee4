package dev.baton.worker.leaving;

import dev.baton.worker.leaving.MetadataService.Answer;
import java.io.IOException;
import java.util.Map;
import java.util.Optional;

/**
 * Google Compute Engine: {@code preempted} turns TRUE 30 s before, and {@code maintenance-event}
 * says TERMINATE where a machine that cannot be moved is ended ("Spot VMs"; "Query metadata server
 * for maintenance event notices").
 */
final class GcpSpot implements SpotCloud {
  private static final String INSTANCE = "/computeMetadata/v1/instance/";
  private static final Map<String, String> FLAVOR = Map.of("Metadata-Flavor", "Google");

  private final MetadataService service;

  GcpSpot(MetadataService service) {
    this.service = service;
  }

  @Override
  public String label() {
    return "Google Cloud";
  }

  @Override
  public boolean recognises() throws IOException {
    Answer answer = service.get(INSTANCE + "preempted", FLAVOR);
    return answer.ok() && answer.flavor().equals("Google");
  }

  @Override
  public Optional<String> notice() throws IOException {
    if (value("preempted").equals("TRUE")) {
      return Optional.of("Google Cloud preempts this instance");
    }
    return value("maintenance-event").startsWith("TERMINATE")
        ? Optional.of("Google Cloud terminates this instance for the maintenance of its host")
        : Optional.empty();
  }

  private String value(String name) throws IOException {
    Answer answer = service.get(INSTANCE + name, FLAVOR);
    if (!answer.ok()) {
      throw answer.unexpected();
    }
    return answer.body();
  }
}
