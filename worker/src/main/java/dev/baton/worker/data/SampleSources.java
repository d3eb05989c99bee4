package dev.baton.worker.data;

import dev.baton.dataset.DatasetException;
import dev.baton.dataset.DatasetReaders;
import dev.baton.dataset.Picture;
import dev.baton.dataset.SplitReader;
import dev.baton.v1.AttemptOutcome;
import dev.baton.v1.Dataset;
import dev.baton.v1.DatasetSplit;
import dev.baton.v1.LocalDataset;
import dev.baton.v1.Source;
import dev.baton.v1.SyntheticRegression;
import dev.baton.v1.Transform;
import dev.baton.worker.cache.LocalDisk;
import dev.baton.worker.trainer.DType;
import dev.baton.worker.trainer.TrainingException;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.HexFormat;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** Opens the data that a job names. */
public final class SampleSources {
  /** Of the decoded files' content; raised when decoding the same settings gives other bytes. */
  private static final int VERSION = 1;

  private SampleSources() {}

  /** As the other, with every resize done here. */
  public static SampleSource open(
      Source source,
      List<Transform> transforms,
      List<LocalDataset> datasets,
      Path decodedDir,
      long seed) {
    return open(source, transforms, datasets, false, decodedDir, seed);
  }

  /**
   * Opens a source. Pictures that are not decoded yet are from now on, by all processors; what is
   * gathered first is decoded first.
   *
   * @param source {@code data.train} or {@code data.eval}
   * @param transforms {@code data.transforms}; resizes are applied here, the rest is the engine's
   * @param resizeOnDevice leaves resizes to the engine too ({@link SampleFormat#resizing}) where
   *     all pictures are known to have one shape and grow: what is stored and copied is smaller so
   * @param datasets what the worker has staged
   * @param decodedDir shared by all trainers of this machine; its files may be deleted at any time
   * @param seed {@code training.seed}, for synthetic data that has no seed of its own
   * @throws TrainingException where the data is not what the job needs
   */
  public static SampleSource open(
      Source source,
      List<Transform> transforms,
      List<LocalDataset> datasets,
      boolean resizeOnDevice,
      Path decodedDir,
      long seed) {
    return switch (source.getSourceCase()) {
      case SYNTHETIC -> {
        if (!source.getSynthetic().hasRegression()) {
          throw TrainingException.userError("data: synthetic names no kind; regression is known");
        }
        SyntheticRegression regression = source.getSynthetic().getRegression();
        yield new SyntheticRegressionSource(
            regression.getSamples(), regression.hasSeed() ? regression.getSeed() : seed);
      }
      case DATASET -> {
        LocalDataset local = find(source.getDataset(), datasets);
        String name = local.getDataset().getName();
        try {
          yield openPictures(
              local, source.getSplit(), Resizing.of(transforms), resizeOnDevice, decodedDir);
        } catch (DatasetException e) {
          throw TrainingException.userError("data set " + name + ": " + e.getMessage());
        } catch (IOException e) {
          throw new TrainingException(
              AttemptOutcome.ATTEMPT_OUTCOME_WORKER_ERROR,
              LocalDisk.isFull(e)
                  ? LocalDisk.full("the decoded data set " + name, decodedDir)
                  : "data set " + name + " cannot be opened: " + e,
              e);
        }
      }
      case SOURCE_NOT_SET ->
          throw TrainingException.userError("data names neither a dataset nor synthetic data");
    };
  }

  private static LocalDataset find(String reference, List<LocalDataset> datasets) {
    int at = reference.indexOf('@');
    String name = at < 0 ? reference : reference.substring(0, at);
    String digest = at < 0 ? "" : reference.substring(at + 1);
    return datasets.stream()
        .filter(d -> d.getDataset().getName().equals(name))
        .filter(d -> d.getDataset().getDigest().startsWith(digest))
        .findFirst()
        .orElseThrow(
            () -> TrainingException.userError("data set " + reference + " is not staged here"));
  }

  private static SampleSource openPictures(
      LocalDataset local,
      String splitName,
      Resizing wanted,
      boolean resizeOnDevice,
      Path decodedDir)
      throws IOException {
    Dataset dataset = local.getDataset();
    DatasetSplit split =
        dataset.getSplitsList().stream()
            .filter(s -> s.getName().equals(splitName))
            .findFirst()
            .orElseThrow(
                () ->
                    new DatasetException(
                        "there is no split \""
                            + splitName
                            + "\"; it has "
                            + String.join(
                                ", ",
                                dataset.getSplitsList().stream()
                                    .map(DatasetSplit::getName)
                                    .toList())));
    boolean later = resizeOnDevice && grows(split, wanted);
    Resizing resizing = later ? Resizing.NONE : wanted;
    int samples = Math.toIntExact(split.getSamples());
    Files.createDirectories(decodedDir);
    Path path = decodedDir.resolve(key(dataset.getDigest(), splitName, resizing) + ".samples");
    SplitReader reader = null;
    DecodedFile file = null;
    try {
      PictureDecoding decoding = decodingFromDescription(split, resizing);
      if (decoding != null) {
        file = DecodedFile.openExisting(path, samples, decoding.sampleBytes());
      }
      if (file == null || decoding == null || !file.isComplete()) {
        reader = DatasetReaders.open(dataset, Path.of(local.getDir()), splitName, decodedDir);
        checkSamples(reader, split);
        if (decoding == null) {
          decoding = decodingFromPictures(reader, split.getShape(0), resizing);
        }
        if (file == null) {
          SplitReader labels = reader;
          file =
              DecodedFile.open(
                  path, samples, decoding.sampleBytes(), target -> writeLabels(labels, target));
        }
      }
      SampleSource opened =
          new PictureSource(
              format(dataset, decoding, later ? wanted : Resizing.NONE),
              file,
              decoding,
              reader,
              Runtime.getRuntime().availableProcessors());
      reader = null;
      file = null;
      return opened;
    } finally {
      if (reader != null) {
        reader.close();
      }
      if (file != null) {
        file.close();
      }
    }
  }

  /** Whether every picture has one known shape and becomes larger. */
  private static boolean grows(DatasetSplit split, Resizing resizing) {
    int height = split.getShape(1);
    int width = split.getShape(2);
    if (resizing.isNone() || height == 0 || width == 0) {
      return false;
    }
    int[] shape = resizing.shape(height, width);
    return (long) shape[0] * shape[1] > (long) height * width;
  }

  private static SampleFormat format(Dataset dataset, PictureDecoding decoding, Resizing later) {
    int classes =
        Math.max(
            dataset.getClassNamesCount(),
            dataset.getSplitsList().stream().mapToInt(DatasetSplit::getClasses).max().orElse(0));
    return new SampleFormat(
        DType.UINT8,
        List.of(decoding.channels(), decoding.height(), decoding.width()),
        DType.INT64,
        classes,
        dataset.getClassNamesList(),
        later);
  }

  /** Null where only the pictures themselves can tell their shape. */
  private static @Nullable PictureDecoding decodingFromDescription(
      DatasetSplit split, Resizing resizing) {
    int height = split.getShape(1);
    int width = split.getShape(2);
    if ((height == 0 || width == 0) && !resizing.fixesShape()) {
      return null;
    }
    int[] shape = resizing.shape(Math.max(1, height), Math.max(1, width));
    return new PictureDecoding(split.getShape(0), shape[0], shape[1], resizing);
  }

  /** The first picture's shape, which the others must have; two that differ are named here. */
  private static PictureDecoding decodingFromPictures(
      SplitReader reader, int channels, Resizing resizing) throws IOException {
    Picture first = resizing.apply(reader.read(0));
    PictureDecoding decoding =
        new PictureDecoding(channels, first.height(), first.width(), resizing);
    for (int i = 1; i < reader.size(); i++) {
      Picture other = reader.read(i);
      int[] shape = resizing.shape(other.height(), other.width());
      if (shape[0] != first.height() || shape[1] != first.width()) {
        throw TrainingException.userError(
            String.format(
                "pictures differ in size: %s is %dx%d, %s %dx%d; add a resize to data.transforms:"
                    + " {resize: {size: [%d, %d]}}",
                reader.name(0),
                first.height(),
                first.width(),
                reader.name(i),
                shape[0],
                shape[1],
                first.height(),
                first.width()));
      }
    }
    return decoding;
  }

  private static void checkSamples(SplitReader reader, DatasetSplit split) {
    if (reader.size() != split.getSamples()) {
      throw new DatasetException(
          String.format(
              "split %s holds %d samples, but its description says %d",
              split.getName(), reader.size(), split.getSamples()));
    }
    for (int i = 0; i < reader.size(); i++) {
      if (reader.label(i) >= split.getClasses()) {
        throw new DatasetException(
            String.format(
                "%s has label %d, but split %s is described with %d classes",
                reader.name(i), reader.label(i), split.getName(), split.getClasses()));
      }
    }
  }

  private static void writeLabels(SplitReader reader, ByteBuffer target) {
    for (int i = 0; i < reader.size(); i++) {
      target.putLong(reader.label(i));
    }
  }

  private static String key(String digest, String split, Resizing resizing) {
    String settings =
        String.join("\n", String.valueOf(VERSION), digest, split, resizing.sizes().toString());
    try {
      MessageDigest sha256 = MessageDigest.getInstance("SHA-256");
      return HexFormat.of()
          .formatHex(sha256.digest(settings.getBytes(StandardCharsets.UTF_8)), 0, 16);
    } catch (NoSuchAlgorithmException e) {
      throw new AssertionError("every Java platform has SHA-256", e);
    }
  }
}
