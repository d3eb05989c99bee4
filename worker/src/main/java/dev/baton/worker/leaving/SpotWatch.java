package dev.baton.worker.leaving;

import java.io.IOException;
import java.net.URI;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Waits for the cloud's notice that it takes this machine back; on a thread of its own. Which cloud
 * that is, if any, is found out at the start: on a machine of one's own that is over in a second or
 * two, and says nothing.
 */
public final class SpotWatch {
  private static final Logger log = LoggerFactory.getLogger(SpotWatch.class);

  /** Which cloud's notices to wait for. */
  public enum Choice {
    /** That of the cloud this machine belongs to. */
    AUTO,
    AWS,
    GCP,
    AZURE,
    NONE
  }

  // What AWS recommends; the others give notice of 30 s.
  private static final long POLL_MILLIS = 5_000;
  // A machine that has just booted may have no network yet.
  private static final List<Integer> RECOGNISE_AFTER_SECONDS = List.of(0, 10, 50);

  private final Choice choice;
  private final MetadataService service;
  private final Consumer<String> onNotice;
  private boolean answers = true;

  /**
   * @param address another one than clouds have
   * @param onNotice hears of the notice, once; on this thread
   */
  public SpotWatch(Choice choice, Optional<URI> address, Consumer<String> onNotice) {
    this.choice = choice;
    this.service = new MetadataService(address.orElse(MetadataService.ADDRESS));
    this.onNotice = onNotice;
  }

  /** Begins to wait. */
  public void start() {
    if (choice == Choice.NONE) {
      return;
    }
    Thread thread = new Thread(this::run, "spot");
    thread.setDaemon(true);
    thread.start();
  }

  private void run() {
    try {
      Optional<SpotCloud> cloud = choice == Choice.AUTO ? recognise() : Optional.of(chosen());
      if (cloud.isEmpty()) {
        return;
      }
      log.info("a notice of {} that it takes this machine back is heeded", cloud.get().label());
      Optional<String> notice = ask(cloud.get());
      while (notice.isEmpty()) {
        TimeUnit.MILLISECONDS.sleep(POLL_MILLIS);
        notice = ask(cloud.get());
      }
      onNotice.accept(notice.get());
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  private SpotCloud chosen() {
    return switch (choice) {
      case AWS -> new AwsSpot(service);
      case GCP -> new GcpSpot(service);
      case AZURE -> new AzureSpot(service);
      case AUTO, NONE -> throw new IllegalStateException(choice.name().toLowerCase(Locale.ROOT));
    };
  }

  private Optional<SpotCloud> recognise() throws InterruptedException {
    List<SpotCloud> clouds =
        List.of(new GcpSpot(service), new AzureSpot(service), new AwsSpot(service));
    for (int seconds : RECOGNISE_AFTER_SECONDS) {
      TimeUnit.SECONDS.sleep(seconds);
      try {
        for (SpotCloud cloud : clouds) {
          if (cloud.recognises()) {
            return Optional.of(cloud);
          }
        }
      } catch (IOException e) {
        log.debug("no cloud's metadata service answers: {}", e.getMessage());
      }
    }
    return Optional.empty();
  }

  private Optional<String> ask(SpotCloud cloud) {
    try {
      Optional<String> notice = cloud.notice();
      if (!answers) {
        log.info("{} answers again", cloud.label());
      }
      answers = true;
      return notice;
    } catch (IOException e) {
      if (answers) {
        log.warn(
            "{} cannot be asked whether it takes this machine back: {}",
            cloud.label(),
            e.getMessage());
      }
      answers = false;
      return Optional.empty();
    }
  }
}
