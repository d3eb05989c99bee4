package dev.baton.dataset;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.baton.v1.Dataset;
import dev.baton.v1.DatasetFile;
import dev.baton.v1.DatasetFormat;
import org.junit.jupiter.api.Test;

class DatasetDigestsTest {
  private static DatasetFile file(String path) {
    return DatasetFile.newBuilder().setPath(path).setBytes(3).setSha256("ab").build();
  }

  @Test
  void isTheDigestOfTheListingByPath() {
    Dataset.Builder dataset =
        Dataset.newBuilder().setFormat(DatasetFormat.DATASET_FORMAT_IMAGE_FOLDER);
    // printf 'image-folder\nab 3 B\nab 3 a\n' | sha256sum
    String expected = "72e3b8baa6bdb2ae0545eeaabe382ad7cbeae68236c62f33d2599a4fb5ed54b9";
    assertThat(
            DatasetDigests.digest(dataset.clone().addFiles(file("B")).addFiles(file("a")).build()))
        .isEqualTo(expected)
        .isEqualTo(
            DatasetDigests.digest(
                dataset.clone().setName("x").addFiles(file("a")).addFiles(file("B")).build()));
    assertThat(DatasetDigests.digest(dataset.addFiles(file("a")).build())).isNotEqualTo(expected);
  }

  @Test
  void formatsHaveTheirCommandLineNames() {
    assertThat(DatasetFormats.names()).containsExactly("idx", "cifar-binary", "image-folder");
    assertThat(DatasetFormats.parse("cifar-binary"))
        .isEqualTo(DatasetFormat.DATASET_FORMAT_CIFAR_BINARY);
    assertThatThrownBy(() -> DatasetFormats.parse("unspecified"))
        .isInstanceOf(DatasetException.class)
        .hasMessage(
            "unknown data set format unspecified; known are idx, cifar-binary, image-folder");
  }
}
