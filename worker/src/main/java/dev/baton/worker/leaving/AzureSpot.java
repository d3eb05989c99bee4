package dev.baton.worker.leaving;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import dev.baton.worker.leaving.MetadataService.Answer;
import java.io.IOException;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/**
 * Azure: a scheduled event of type Preempt, 30 s before at least, or Terminate ("Scheduled Events
 * for Linux VMs"). The machines of a scale set hear of each other's events too, by name.
 */
final class AzureSpot implements SpotCloud {
  private static final String NAME_PATH =
      "/metadata/instance/compute/name?api-version=2021-02-01&format=text";
  private static final String EVENTS_PATH = "/metadata/scheduledevents?api-version=2020-07-01";
  private static final Map<String, String> METADATA = Map.of("Metadata", "true");
  private static final List<String> ENDS = List.of("Preempt", "Terminate");
  private static final JsonMapper JSON = new JsonMapper();

  private final MetadataService service;
  private String name = "";

  AzureSpot(MetadataService service) {
    this.service = service;
  }

  @Override
  public String label() {
    return "Azure";
  }

  @Override
  public boolean recognises() throws IOException {
    Answer answer = service.get(NAME_PATH, METADATA);
    name = answer.ok() ? answer.body() : "";
    return !name.isEmpty();
  }

  @Override
  public Optional<String> notice() throws IOException {
    if (name.isEmpty() && !recognises()) {
      throw new IOException("the metadata service gives no name");
    }
    Answer answer = service.get(EVENTS_PATH, METADATA);
    if (!answer.ok()) {
      throw answer.unexpected();
    }
    for (JsonNode event : JSON.readTree(answer.body()).path("Events")) {
      String type = event.path("EventType").asText();
      if (ENDS.contains(type) && concerns(event.path("Resources"))) {
        return Optional.of(
            "Azure takes this machine (event "
                + type
                + ", not before: "
                + event.path("NotBefore").asText()
                + ")");
      }
    }
    return Optional.empty();
  }

  private boolean concerns(JsonNode resources) {
    for (JsonNode resource : resources) {
      if (resource.asText().equalsIgnoreCase(name)) {
        return true;
      }
    }
    return resources.isEmpty();
  }
}
