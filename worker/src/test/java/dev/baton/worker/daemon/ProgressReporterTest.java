package dev.baton.worker.daemon;

import static org.assertj.core.api.Assertions.assertThat;

import dev.baton.v1.LeaseRef;
import dev.baton.v1.Progress;
import dev.baton.v1.ProgressReport;
import dev.baton.v1.ReplicaProgress;
import dev.baton.v1.StepProgress;
import dev.baton.worker.testing.ManualLoop;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;

class ProgressReporterTest {
  private static final LeaseRef LEASE = LeaseRef.newBuilder().setJobId("j").setTerm(3).build();

  // Close to where nanoTime overflows.
  private final ManualLoop loop = new ManualLoop(Long.MAX_VALUE - 150_000_000L);
  private final List<ProgressReport> reports = new ArrayList<>();
  private final ProgressReporter reporter = new ProgressReporter(loop, reports::add);

  @Test
  void saysNothingBeforeTheAttemptHasBegunAndThenAtOnce() {
    step(1);
    step(2);
    assertThat(steps()).isEmpty();
    reporter.begun(LEASE);
    assertThat(steps()).containsExactly(2L);
    assertThat(reports.get(0).getLease()).isEqualTo(LEASE);
    assertThat(reports.get(0).getFirstStep()).isEqualTo(1);
    reporter.begun(LEASE);
    assertThat(steps()).hasSize(1);
  }

  @Test
  void reportsFiveTimesASecondAndNeverAnOlderStep() {
    reporter.begun(LEASE);
    for (int i = 1; i <= 100; i++) {
      step(i);
      loop.advance(Duration.ofMillis(10));
    }
    assertThat(steps()).containsExactly(1L, 20L, 40L, 60L, 80L, 100L);
    assertThat(reporter.lastStep(0)).isEqualTo(100);
  }

  @Test
  void aNewSessionHearsTheNewestOnceMore() {
    reporter.again();
    assertThat(steps()).isEmpty();
    reporter.begun(LEASE);
    step(1);
    step(2);
    reporter.again();
    assertThat(steps()).containsExactly(1L, 2L);
  }

  @Test
  void saysNothingMoreOnceItIsClosed() {
    reporter.begun(LEASE);
    step(1);
    step(2);
    reporter.close();
    loop.advance(Duration.ofSeconds(1));
    reporter.again();
    assertThat(steps()).containsExactly(1L);
    assertThat(new ProgressReporter(loop, reports::add).lastStep(7)).isEqualTo(7);
  }

  @Test
  void ofAnotherRankItsOwnPartAloneGoesOnceASecond() {
    reporter.begun(LEASE.toBuilder().setRank(2).build());
    for (int i = 1; i <= 250; i++) {
      reporter.progress(
          StepProgress.newBuilder()
              .setFirstStep(1)
              .setProgress(Progress.newBuilder().setStep(i))
              .setReplica(ReplicaProgress.newBuilder().setBytesSent(i))
              .build());
      loop.advance(Duration.ofMillis(10));
    }
    assertThat(reports.stream().map(r -> r.getReplica().getBytesSent()).toList())
        .containsExactly(1L, 100L, 200L);
    assertThat(reports).noneMatch(ProgressReport::hasProgress);
    assertThat(reporter.lastStep(0)).isEqualTo(250);
  }

  private void step(long step) {
    reporter.progress(
        StepProgress.newBuilder()
            .setFirstStep(1)
            .setProgress(Progress.newBuilder().setStep(step))
            .build());
  }

  private List<Long> steps() {
    return reports.stream().map(r -> r.getProgress().getStep()).toList();
  }
}
