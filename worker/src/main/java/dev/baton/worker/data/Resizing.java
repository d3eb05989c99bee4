package dev.baton.worker.data;

import dev.baton.dataset.Picture;
import dev.baton.v1.Resize;
import dev.baton.v1.Transform;
import dev.baton.worker.trainer.TrainingException;
import java.util.ArrayList;
import java.util.List;

/**
 * The resizes of a job's transforms, in their order: torchvision's {@code Resize} on pictures of
 * bytes as Pillow does it (bilinear, antialiased, rounded to bytes after each of the two passes),
 * thus before {@code ToTensor}.
 *
 * @param sizes each [h, w], or [shorter edge]
 */
public record Resizing(List<List<Integer>> sizes) {
  /** Leaves every picture as it is. */
  public static final Resizing NONE = new Resizing(List.of());

  public Resizing {
    sizes = List.copyOf(sizes);
  }

  /** What the transforms ask for; empty where they do not. */
  static Resizing of(List<Transform> transforms) {
    List<List<Integer>> sizes = new ArrayList<>();
    for (int i = 0; i < transforms.size(); i++) {
      if (transforms.get(i).getKindCase() == Transform.KindCase.RESIZE) {
        Resize resize = transforms.get(i).getResize();
        List<Integer> size = List.copyOf(resize.getSizeList());
        if (size.isEmpty() || size.size() > 2) {
          throw wrongSize(i, size);
        }
        long pixels = 1;
        for (int edge : size) {
          pixels *= edge;
          if (edge < 1 || pixels > Picture.MAX_PIXELS) {
            throw wrongSize(i, size);
          }
        }
        sizes.add(size);
      }
    }
    return new Resizing(sizes);
  }

  private static TrainingException wrongSize(int index, List<Integer> size) {
    return TrainingException.userError(
        String.format(
            "data.transforms[%d].resize.size is %s; it must be [height, width] or the shorter edge,"
                + " of at most %d pixels",
            index, size, Picture.MAX_PIXELS));
  }

  /** Whether it changes nothing. */
  public boolean isNone() {
    return sizes.isEmpty();
  }

  /** Whether every picture comes out in one shape, whatever its own. */
  boolean fixesShape() {
    return sizes.stream().anyMatch(size -> size.size() == 2);
  }

  /** [height, width] of what comes out of a picture of that size. */
  public int[] shape(int height, int width) {
    List<int[]> shapes = shapes(height, width);
    return shapes.get(shapes.size() - 1);
  }

  /** [height, width] of a picture of that size before the first resize and after each. */
  public List<int[]> shapes(int height, int width) {
    List<int[]> shapes = new ArrayList<>();
    int[] shape = {height, width};
    shapes.add(shape);
    for (List<Integer> size : sizes) {
      shape = step(size, shape[0], shape[1]);
      shapes.add(shape);
    }
    return shapes;
  }

  /** The picture after every resize. */
  public Picture apply(Picture picture) {
    Picture resized = picture;
    for (List<Integer> size : sizes) {
      int[] shape = step(size, resized.height(), resized.width());
      resized = BilinearResize.resize(resized, shape[0], shape[1]);
    }
    return resized;
  }

  private static int[] step(List<Integer> size, int height, int width) {
    if (size.size() == 2) {
      return new int[] {size.get(0), size.get(1)};
    }
    int edge = size.get(0);
    // As torchvision: int(edge * long / short).
    if (width <= height) {
      return new int[] {longer((double) ((long) edge * height) / width), edge};
    }
    return new int[] {edge, longer((double) ((long) edge * width) / height)};
  }

  private static int longer(double edge) {
    return (int) Math.min(edge, Picture.MAX_PIXELS);
  }
}
