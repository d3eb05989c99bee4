package dev.baton.worker.data;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.baton.worker.trainer.TrainingException;
import org.junit.jupiter.api.Test;

class BatchPlanTest {
  @Test
  void trainsTheLastSmallerBatch() {
    BatchPlan plan = new BatchPlan(10, 4, 2, false, 3, 0);
    assertThat(plan.stepsPerEpoch()).isEqualTo(3);
    assertThat(plan.totalSteps()).isEqualTo(9);
    assertThat(plan.samplesOf(2)).isEqualTo(4);
    assertThat(plan.samplesOf(3)).isEqualTo(2);
    assertThat(plan.positionOf(3)).isEqualTo(8);
    assertThat(plan.epochOf(3)).isEqualTo(1);
    assertThat(plan.endsEpoch(3)).isTrue();
    assertThat(plan.epochOf(4)).isEqualTo(2);
    assertThat(plan.positionOf(4)).isZero();
    assertThat(plan.samplesThrough(0)).isZero();
    assertThat(plan.samplesThrough(3)).isEqualTo(10);
    assertThat(plan.samplesThrough(5)).isEqualTo(18);
  }

  @Test
  void leavesTheLastBatchOutWithDropLast() {
    BatchPlan plan = new BatchPlan(10, 4, 1, true, 3, 0);
    assertThat(plan.stepsPerEpoch()).isEqualTo(2);
    assertThat(plan.totalSteps()).isEqualTo(6);
    assertThat(plan.samplesThrough(3)).isEqualTo(12);
    assertThat(plan.positionOf(3)).isZero();
  }

  @Test
  void endsWithWhateverComesFirst() {
    assertThat(new BatchPlan(10, 4, 1, false, 3, 5).totalSteps()).isEqualTo(5);
    assertThat(new BatchPlan(10, 4, 1, false, 1, 5).totalSteps()).isEqualTo(3);
    assertThat(new BatchPlan(10, 4, 1, false, 0, 500).totalSteps()).isEqualTo(500);
  }

  @Test
  void takesABatchLargerThanTheSplit() {
    BatchPlan plan = new BatchPlan(10, 64, 1, false, 2, 0);
    assertThat(plan.stepsPerEpoch()).isEqualTo(1);
    assertThat(plan.samplesOf(2)).isEqualTo(10);
    assertThat(plan.samplesThrough(2)).isEqualTo(20);
  }

  @Test
  void cutsShardsAsEqualAsItGoesLargerOnesFirst() {
    assertThat(BatchPlan.shardBounds(10, 4)).containsExactly(0, 3, 6, 8, 10);
    assertThat(BatchPlan.shardBounds(2, 4)).containsExactly(0, 1, 2, 2, 2);
    assertThat(BatchPlan.shardBounds(8, 1)).containsExactly(0, 8);
  }

  @Test
  void refusesWhatCannotBeTrained() {
    assertThatThrownBy(() -> new BatchPlan(10, 2, 4, false, 1, 0))
        .isInstanceOf(TrainingException.class)
        .hasMessageContaining("at least one sample for each shard");
    assertThatThrownBy(() -> new BatchPlan(10, 16, 1, true, 1, 0))
        .isInstanceOf(TrainingException.class)
        .hasMessageContaining("drop_last");
    assertThatThrownBy(() -> new BatchPlan(10, 1, 1, false, 0, 0))
        .isInstanceOf(TrainingException.class)
        .hasMessageContaining("training.epochs");
    assertThatThrownBy(() -> new BatchPlan(10, 0, 1, false, 1, 0))
        .isInstanceOf(TrainingException.class)
        .hasMessageContaining("training.batch_size is 0");
  }
}
