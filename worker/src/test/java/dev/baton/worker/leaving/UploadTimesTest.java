package dev.baton.worker.leaving;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.baton.transfer.ObjectTransfer;
import dev.baton.transfer.TicketSource;
import dev.baton.transfer.TransferListener;
import dev.baton.v1.CompletedUpload;
import dev.baton.v1.DownloadTicket;
import dev.baton.v1.UploadContent;
import dev.baton.v1.UploadTicket;
import java.io.IOException;
import java.nio.file.Path;
import java.time.Duration;
import org.junit.jupiter.api.Test;

class UploadTimesTest {
  private long nanos;
  private Duration takes = Duration.ZERO;
  private Duration half = Duration.ZERO;
  private boolean fails;

  private final UploadTimes times =
      new UploadTimes(
          new ObjectTransfer() {
            @Override
            public CompletedUpload upload(
                Path file,
                UploadContent content,
                TicketSource<UploadTicket> tickets,
                TransferListener listener)
                throws IOException {
              nanos += takes.dividedBy(2).toNanos();
              half = longest();
              nanos += takes.dividedBy(2).toNanos();
              if (fails) {
                throw new IOException("refused");
              }
              return CompletedUpload.getDefaultInstance();
            }

            @Override
            public void download(
                TicketSource<DownloadTicket> tickets, Path target, TransferListener listener) {
              nanos += Duration.ofDays(1).toNanos();
            }
          },
          () -> nanos);

  private Duration longest() {
    return times.longest();
  }

  private void upload(long seconds) throws Exception {
    takes = Duration.ofSeconds(seconds);
    CompletedUpload unused =
        times.upload(
            Path.of("checkpoint"),
            UploadContent.getDefaultInstance(),
            UploadTicket::getDefaultInstance,
            TransferListener.NONE);
  }

  @Test
  void theLongestOfTheLastCounts() throws Exception {
    assertThat(times.longest()).isZero();
    upload(6);
    upload(2);
    assertThat(times.longest()).isEqualTo(Duration.ofSeconds(6));
    for (int i = 0; i < 7; i++) {
      upload(4);
    }
    assertThat(times.longest()).isEqualTo(Duration.ofSeconds(4));
  }

  @Test
  void oneUnderWayCountsAsFarAsItHasCome() throws Exception {
    upload(60);
    assertThat(half).isEqualTo(Duration.ofSeconds(30));
    upload(7200);
    assertThat(half).as("it may be stuck").isEqualTo(Duration.ofMinutes(5));
    assertThat(times.longest()).isEqualTo(Duration.ofHours(2));
  }

  @Test
  void failuresAndDownloadsDoNotCount() throws Exception {
    times.download(DownloadTicket::getDefaultInstance, Path.of("data"), TransferListener.NONE);
    fails = true;
    assertThatThrownBy(() -> upload(60)).hasMessage("refused");
    assertThat(times.longest()).isZero();
  }
}
