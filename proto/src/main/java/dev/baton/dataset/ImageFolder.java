package dev.baton.dataset;

import java.io.BufferedOutputStream;
import java.io.Closeable;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collection;
import java.util.Collections;
import java.util.Comparator;
import java.util.HashSet;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.stream.Stream;
import org.apache.commons.compress.archivers.tar.TarArchiveEntry;
import org.apache.commons.compress.archivers.tar.TarArchiveOutputStream;

/**
 * Pictures as SPLIT/CLASS/PICTURE.{jpg,jpeg,png} in one tar. A class's index is its folder's place
 * among the sorted names; samples are sorted by class, then by name. Hidden files, and other files
 * outside class folders, are passed over.
 */
final class ImageFolder implements Closeable {
  static final String TRAIN = "train";

  private static final String TAR = "pictures.tar";
  private static final String TAR_GZ = "pictures.tar.gz";
  private static final List<String> EXTENSIONS = List.of(".jpg", ".jpeg", ".png");
  private static final char UNREADABLE = '\uFFFD';
  private static final long MAX_FILE_BYTES = 1L << 26;

  /** What pictures may unpack to: they are packed already, so gzip gains next to nothing. */
  private static final long MAX_RATIO = 100;

  private final RawFile tar;
  private final List<String> classNames;
  private final Map<String, List<Sample>> splits;

  private record Sample(String path, int label, long offset, int size) {}

  private ImageFolder(RawFile tar, List<String> classNames, Map<String, List<Sample>> splits) {
    this.tar = tar;
    this.classNames = classNames;
    this.splits = splits;
  }

  /** The file that travels: a tar as it is, a folder packed into one in {@code stagingDir}. */
  static Map<String, Path> files(Path path, Path stagingDir, ProgressListener listener)
      throws IOException {
    if (Files.isDirectory(path)) {
      return Map.of(TAR, pack(path, stagingDir, listener));
    }
    return Map.of(RawFile.isGzip(path) ? TAR_GZ : TAR, path);
  }

  /** Opens the tar among a data set's files. */
  static ImageFolder open(Map<String, Path> files, Path tempDir) throws IOException {
    if (files.size() != 1) {
      throw new DatasetException("an image folder is one tar, not " + files.size() + " files");
    }
    Map.Entry<String, Path> file = files.entrySet().iterator().next();
    long limit = Math.max(1L << 26, MAX_RATIO * Files.size(file.getValue()));
    // Named as its owner knows it, which at a push is not yet the name that travels.
    String name = file.getValue().getFileName().toString();
    RawFile tar = RawFile.open(file.getValue(), name, tempDir, limit);
    try {
      return index(tar);
    } catch (IOException | RuntimeException e) {
      tar.close();
      throw e;
    }
  }

  /** Opens one split; closing it closes the tar. */
  static SplitReader open(Map<String, Path> files, String split, Path tempDir) throws IOException {
    ImageFolder folder = open(files, tempDir);
    try {
      return folder.reader(split);
    } catch (RuntimeException e) {
      folder.close();
      throw e;
    }
  }

  Collection<String> splits() {
    return splits.keySet();
  }

  List<String> classNames() {
    return classNames;
  }

  /** The pictures of a split; closing it closes the whole. */
  SplitReader reader(String split) {
    List<Sample> samples = splits.get(split);
    if (samples == null) {
      throw new DatasetException(
          "there is no split " + split + "; the top folders are " + String.join(", ", splits()));
    }
    return new Reader(samples);
  }

  @Override
  public void close() throws IOException {
    tar.close();
  }

  private static ImageFolder index(RawFile tar) throws IOException {
    List<Tar.Entry> entries = Tar.entries(tar).stream().filter(e -> !isHidden(e.path())).toList();
    int root = hasCommonRoot(entries) ? 1 : 0;
    Layout layout = new Layout(tar.name());
    Map<String, List<Tar.Entry>> bySplit = new TreeMap<>();
    for (Tar.Entry entry : entries) {
      String path = withoutRoot(entry.path(), root);
      if (path.isEmpty()) {
        continue;
      }
      if (entry.directory()) {
        layout.folder(path);
      } else if (layout.isPicture(path, entry.size())) {
        bySplit
            .computeIfAbsent(path.substring(0, path.indexOf('/')), s -> new ArrayList<>())
            .add(new Tar.Entry(path, false, entry.offset(), entry.size()));
      }
    }
    List<String> classes = layout.classes();
    Map<String, List<Sample>> splits = new TreeMap<>(TRAIN_FIRST);
    for (Map.Entry<String, List<Tar.Entry>> split : bySplit.entrySet()) {
      List<Sample> samples = new ArrayList<>(split.getValue().size());
      for (Tar.Entry entry : split.getValue()) {
        int label = Collections.binarySearch(classes, className(entry.path()));
        samples.add(new Sample(entry.path(), label, entry.offset(), (int) entry.size()));
      }
      samples.sort(Comparator.comparingInt(Sample::label).thenComparing(Sample::path));
      splits.put(split.getKey(), samples);
    }
    return new ImageFolder(tar, classes, splits);
  }

  /** Training data leads a listing; otherwise by name. */
  private static final Comparator<String> TRAIN_FIRST =
      Comparator.comparing((String split) -> !split.equals(TRAIN))
          .thenComparing(Comparator.naturalOrder());

  private static boolean isHidden(String path) {
    return path.startsWith(".") || path.contains("/.") || path.startsWith("__MACOSX");
  }

  private static boolean hasPictureName(String path) {
    String lower = path.toLowerCase(Locale.ROOT);
    return EXTENSIONS.stream().anyMatch(lower::endsWith);
  }

  /** Whether every picture lies one folder deeper, below one and the same. */
  private static boolean hasCommonRoot(List<Tar.Entry> entries) {
    String root = null;
    for (Tar.Entry entry : entries) {
      if (!entry.directory() && hasPictureName(entry.path())) {
        int slash = entry.path().indexOf('/');
        if (depth(entry.path()) != 4 || (root != null && !entry.path().startsWith(root + "/"))) {
          return false;
        }
        root = entry.path().substring(0, slash);
      }
    }
    return root != null;
  }

  private static String withoutRoot(String path, int root) {
    if (root == 0) {
      return path;
    }
    int slash = path.indexOf('/');
    return slash < 0 ? "" : path.substring(slash + 1);
  }

  private static int depth(String path) {
    return 1 + (int) path.chars().filter(c -> c == '/').count();
  }

  private static String className(String path) {
    return path.split("/", -1)[1];
  }

  /** The rules that tars and folders share. */
  private static final class Layout {
    private final String where;
    private final Map<String, Set<String>> classesWithPictures = new TreeMap<>(TRAIN_FIRST);
    private final Set<String> classFolders = new TreeSet<>();
    private final Set<String> paths = new HashSet<>();

    Layout(String where) {
      this.where = where;
    }

    void folder(String path) {
      if (depth(path) == 2) {
        classFolders.add(path);
      }
    }

    boolean isPicture(String path, long size) {
      boolean picture = hasPictureName(path);
      int depth = depth(path);
      if (depth == 3 && !picture && !path.endsWith("/Thumbs.db")) {
        throw refuse(path + " is no .jpg, .jpeg or .png; convert it, or take it out");
      }
      if (depth != 3 && picture) {
        throw refuse(
            path
                + " lies "
                + (depth < 3 ? "too high" : "too deep")
                + "; pictures lie in SPLIT/CLASS/, say train/cat/1.jpg");
      }
      if (!picture) {
        return false;
      }
      if (size < 1 || size > MAX_FILE_BYTES) {
        throw refuse(path + " has " + size + " bytes; 1 to " + MAX_FILE_BYTES + " are read");
      }
      if (!paths.add(path)) {
        throw refuse(path + " is there twice");
      }
      String[] parts = path.split("/", -1);
      if (!parts[0].matches("[A-Za-z0-9][A-Za-z0-9._-]{0,62}")) {
        throw refuse(
            parts[0] + " is no name for a split; letters, digits, '.', '_' and '-' make one");
      }
      classesWithPictures.computeIfAbsent(parts[0], s -> new TreeSet<>()).add(parts[1]);
      return true;
    }

    /** Sorted; checks that every split has the same ones, and pictures in each. */
    List<String> classes() {
      Set<String> classes = classesWithPictures.get(TRAIN);
      if (classes == null) {
        throw refuse(
            classesWithPictures.isEmpty()
                ? "there are no pictures; they lie in SPLIT/CLASS/, say train/cat/1.jpg"
                : "there is no folder train; the top folders are "
                    + String.join(", ", classesWithPictures.keySet()));
      }
      classesWithPictures.forEach(
          (split, found) -> {
            for (String name : classes) {
              if (!found.contains(name)) {
                throw refuse(
                    split + "/" + name + " holds no pictures, but train/" + name + " does");
              }
            }
            for (String name : found) {
              if (!classes.contains(name)) {
                throw refuse(
                    "train/" + name + " holds no pictures, but " + split + "/" + name + " does");
              }
            }
          });
      for (String folder : classFolders) {
        String[] parts = folder.split("/", -1);
        Set<String> found = classesWithPictures.get(parts[0]);
        if (found == null || !found.contains(parts[1])) {
          throw refuse("the class folder " + folder + " holds no pictures");
        }
      }
      return List.copyOf(classes);
    }

    private DatasetException refuse(String message) {
      return new DatasetException(where + ": " + message);
    }
  }

  /** A tar that depends on names and contents alone. */
  private static Path pack(Path folder, Path stagingDir, ProgressListener listener)
      throws IOException {
    Layout layout = new Layout(folder.toString());
    Map<String, Path> pictures = new TreeMap<>();
    for (Path split : children(folder)) {
      for (Path classFolder : folders(split, layout, folder)) {
        layout.folder(relative(folder, classFolder));
        for (Path file : children(classFolder)) {
          String path = relative(folder, file);
          if (Files.isDirectory(file)) {
            throw new DatasetException(
                folder + ": " + path + " is a folder; class folders hold pictures alone");
          }
          if (layout.isPicture(path, Files.size(file))) {
            pictures.put(path, file);
          }
        }
      }
    }
    layout.classes();
    Files.createDirectories(stagingDir);
    Path tar = stagingDir.resolve(TAR);
    long done = 0;
    try (OutputStream file = new BufferedOutputStream(Files.newOutputStream(tar), 1 << 18);
        TarArchiveOutputStream out =
            new TarArchiveOutputStream(file, StandardCharsets.UTF_8.name())) {
      out.setLongFileMode(TarArchiveOutputStream.LONGFILE_POSIX);
      out.setAddPaxHeadersForNonAsciiNames(true);
      for (Map.Entry<String, Path> picture : pictures.entrySet()) {
        byte[] bytes = Files.readAllBytes(picture.getValue());
        TarArchiveEntry entry = new TarArchiveEntry(picture.getKey());
        entry.setSize(bytes.length);
        entry.setModTime(0L);
        entry.setMode(0644);
        out.putArchiveEntry(entry);
        out.write(bytes);
        out.closeArchiveEntry();
        listener.onProgress("packing pictures", ++done, pictures.size());
      }
    }
    return tar;
  }

  private static List<Path> folders(Path split, Layout layout, Path folder) throws IOException {
    if (!Files.isDirectory(split)) {
      layout.isPicture(relative(folder, split), 1);
      return List.of();
    }
    List<Path> folders = new ArrayList<>();
    for (Path child : children(split)) {
      if (Files.isDirectory(child)) {
        folders.add(child);
      } else {
        layout.isPicture(relative(folder, child), 1);
      }
    }
    return folders;
  }

  private static List<Path> children(Path folder) throws IOException {
    List<Path> found;
    try (Stream<Path> children = Files.list(folder)) {
      found = children.filter(p -> !isHidden(p.getFileName().toString())).sorted().toList();
    }
    for (Path child : found) {
      // What Java makes of bytes that it cannot read: two names might become one.
      if (child.getFileName().toString().indexOf(UNREADABLE) >= 0) {
        throw new DatasetException(
            child
                + ": a name with letters that cannot be read here; names must be UTF-8, and so must"
                + " the locale (export LC_ALL=C.UTF-8)");
      }
    }
    return found;
  }

  private static String relative(Path folder, Path file) {
    return folder.relativize(file).toString().replace('\\', '/');
  }

  /** Whether a folder looks like one: top folders with folders in them. */
  static boolean looksLike(Path path) throws IOException {
    for (Path split : children(path)) {
      if (Files.isDirectory(split) && children(split).stream().anyMatch(Files::isDirectory)) {
        return true;
      }
    }
    return false;
  }

  /** Compact: there may be millions of samples. */
  private final class Reader implements SplitReader {
    private final String[] names;
    private final int[] labels;
    private final long[] offsets;
    private final int[] sizes;

    Reader(List<Sample> samples) {
      this.names = samples.stream().map(Sample::path).toArray(String[]::new);
      this.labels = samples.stream().mapToInt(Sample::label).toArray();
      this.offsets = samples.stream().mapToLong(Sample::offset).toArray();
      this.sizes = samples.stream().mapToInt(Sample::size).toArray();
    }

    @Override
    public int size() {
      return names.length;
    }

    @Override
    public int label(int index) {
      return labels[index];
    }

    @Override
    public String name(int index) {
      return names[index];
    }

    @Override
    public Picture read(int index) throws IOException {
      return PictureDecoder.ofThread().decode(tar.read(offsets[index], sizes[index]), names[index]);
    }

    @Override
    public void close() throws IOException {
      ImageFolder.this.close();
    }
  }
}
