package dev.baton.worker.data;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.baton.dataset.Picture;
import dev.baton.v1.Normalize;
import dev.baton.v1.Resize;
import dev.baton.v1.Transform;
import dev.baton.worker.trainer.TrainingException;
import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.List;
import java.util.Objects;
import org.junit.jupiter.api.Test;

class BilinearResizeTest {
  private static Transform resize(Integer... size) {
    return Transform.newBuilder().setResize(Resize.newBuilder().addAllSize(List.of(size))).build();
  }

  @Test
  void givesPillowsBytes() throws IOException {
    ByteBuffer recorded;
    try (InputStream in = BilinearResizeTest.class.getResourceAsStream("resizes.bin")) {
      recorded = ByteBuffer.wrap(Objects.requireNonNull(in).readAllBytes());
    }
    recorded.order(ByteOrder.LITTLE_ENDIAN);
    int cases = 0;
    for (; recorded.hasRemaining(); cases++) {
      int[] head = new int[8];
      for (int i = 0; i < 8; i++) {
        head[i] = recorded.getInt();
      }
      byte[] from = new byte[head[0] * head[1] * head[2]];
      byte[] to = new byte[head[0] * head[3] * head[4]];
      recorded.get(from).get(to);
      Picture resized =
          BilinearResize.resize(new Picture(head[0], head[1], head[2], from), head[3], head[4]);
      assertThat(resized.pixels()).as("case %d", cases).isEqualTo(to);
    }
    assertThat(cases).isEqualTo(10);
  }

  @Test
  void oneNumberIsTheShorterEdge() {
    Resizing shorter = Resizing.of(List.of(resize(20)));
    assertThat(shorter.shape(40, 60)).containsExactly(20, 30);
    assertThat(shorter.shape(60, 40)).containsExactly(30, 20);
    assertThat(shorter.shape(7, 10)).containsExactly(20, 28); // int(20 * 10 / 7)
    assertThat(shorter.shape(9, 9)).containsExactly(20, 20);
    assertThat(shorter.fixesShape()).isFalse();
    Resizing both = Resizing.of(List.of(resize(20), resize(8, 9)));
    assertThat(both.shape(40, 60)).containsExactly(8, 9);
    assertThat(both.fixesShape()).isTrue();
    Picture picture = shorter.apply(new Picture(1, 4, 6, new byte[24]));
    assertThat(List.of(picture.height(), picture.width())).containsExactly(20, 30);
  }

  @Test
  void otherTransformsAreNotItsOwn() {
    Transform normalize =
        Transform.newBuilder().setNormalize(Normalize.newBuilder().addMean(0.5)).build();
    assertThat(Resizing.of(List.of(normalize)).sizes()).isEmpty();
  }

  @Test
  void refusesSizesThatMakeNoSense() {
    for (Transform wrong :
        List.of(resize(), resize(0), resize(1, 2, 3), resize(1 << 20, 1 << 20), resize(4, -1))) {
      assertThatThrownBy(() -> Resizing.of(List.of(wrong)))
          .isInstanceOf(TrainingException.class)
          .hasMessageContaining("data.transforms[0].resize.size is");
    }
  }
}
