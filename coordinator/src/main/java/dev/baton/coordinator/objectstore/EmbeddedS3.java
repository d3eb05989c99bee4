package dev.baton.coordinator.objectstore;

import dev.baton.coordinator.core.ObjectStoreException;
import dev.baton.coordinator.core.ObjectStoreException.Kind;
import dev.baton.coordinator.tls.ServerIdentity;
import dev.baton.rpc.HostPort;
import dev.baton.rpc.PinnedTrust;
import dev.baton.v1.UploadContent;
import java.io.IOException;
import java.io.InputStream;
import java.net.URI;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.DirectoryNotEmptyException;
import java.nio.file.FileVisitResult;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.SimpleFileVisitor;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.BasicFileAttributes;
import java.nio.file.attribute.PosixFilePermissions;
import java.security.SecureRandom;
import java.time.Instant;
import java.time.InstantSource;
import java.util.HashSet;
import java.util.HexFormat;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.TimeoutException;
import java.util.function.Consumer;
import java.util.function.Predicate;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.gaul.s3proxy.AccessGrant;
import org.gaul.s3proxy.S3Proxy;
import org.gaul.s3proxy.auth.AuthenticationType;
import org.gaul.s3proxy.blobstore.BlobStore;
import org.gaul.s3proxy.blobstore.ForwardingBlobStore;
import org.gaul.s3proxy.nio2blob.FilesystemNio2BlobStore;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import software.amazon.awssdk.services.s3.model.BucketCannedACL;
import software.amazon.awssdk.services.s3.model.ObjectCannedACL;

/**
 * An S3 server in this process, on the coordinator's disk: objects are files under {@code
 * DIR/objects/baton}. Its credentials are random, made at the first start, kept in {@code
 * DIR/objects.key} for the owner alone, and never leave the coordinator; URLs outlive a restart.
 *
 * <p>The server writes an object under another name and links it to its own when it is whole, so
 * that a crash tears nothing; but it never fsyncs, which {@link #sync} does.
 */
public final class EmbeddedS3 extends S3ObjectStore {
  private static final Logger log = LoggerFactory.getLogger(EmbeddedS3.class);

  private static final String BUCKET = "baton";
  private static final String REGION = "us-east-1";
  private static final String KEY_FILE = "objects.key";
  private static final long STOP_TIMEOUT_MS = 1000;
  // What the disk keeps for the database and the log.
  private static final long RESERVED_BYTES = 64L << 20;
  // How the names of the server's own files begin (parts, and notes on uploads)...
  private static final Pattern SERVERS_OWN = Pattern.compile("\\.(mpus|s3proxy)-.*");
  // A part: the upload's name, the object's key, the number of the part...
  private static final Pattern PART = Pattern.compile("\\.mpus-(.{36})-(.+)-[^-]+");
  // ... and a note on an upload, with its name.
  private static final Pattern NOTE = Pattern.compile("\\.s3proxy-mpu-stub-(.{36})");
  // ... and how files end that it is about to rename.
  private static final Pattern UNFINISHED =
      Pattern.compile(".+-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}");

  private final S3Proxy server;
  private final boolean tls;
  private final Path folder;
  private final Instant startedAt;
  private final long reservedBytes;

  private EmbeddedS3(
      S3Proxy server,
      Optional<ServerIdentity> identity,
      Path folder,
      S3Settings settings,
      InstantSource clock,
      long reservedBytes) {
    super(settings, identity.map(own -> PinnedTrust.everywhere(own.keyPin())), clock);
    this.reservedBytes = reservedBytes;
    this.server = server;
    this.tls = identity.isPresent();
    this.folder = folder;
    this.startedAt = clock.instant();
  }

  /**
   * Starts the server.
   *
   * @param dataDir the coordinator's own folder, which exists
   * @param listen where to; port 0 picks a free one
   * @param identity where given, the server speaks HTTPS with it, and nothing else
   * @throws ObjectStoreException where it cannot listen there, or not write to the folder
   */
  public static EmbeddedS3 start(
      Path dataDir, HostPort listen, Optional<ServerIdentity> identity, InstantSource clock)
      throws ObjectStoreException {
    return start(dataDir, listen, identity, clock, RESERVED_BYTES);
  }

  /** As above; for tests of a full disk. */
  static EmbeddedS3 start(
      Path dataDir,
      HostPort listen,
      Optional<ServerIdentity> identity,
      InstantSource clock,
      long reservedBytes)
      throws ObjectStoreException {
    try {
      Path buckets = dataDir.resolve("objects");
      Path folder = buckets.resolve(BUCKET);
      Files.createDirectories(folder);
      Files.setPosixFilePermissions(buckets, PosixFilePermissions.fromString("rwx------"));
      List<String> credentials = credentials(dataDir);
      BlobStore files =
          new FullDisk(
              new FilesystemNio2BlobStore(buckets.toString()),
              () -> noSpace("the object does not fit", folder, freeIn(folder)));
      String scheme = scheme(identity.isPresent());
      URI endpoint = URI.create(scheme + "://" + listen);
      S3Proxy.Builder builder = S3Proxy.builder();
      identity.ifPresentOrElse(
          own -> builder.secureEndpoint(endpoint).sslContext(own.serverContext()),
          () -> builder.endpoint(endpoint));
      S3Proxy server =
          builder
              .blobStore(new NothingPublic(files))
              .awsAuthentication(AuthenticationType.AWS_V4, credentials.get(0), credentials.get(1))
              .stopTimeout(STOP_TIMEOUT_MS)
              .build();
      server.setBlobStoreLocator(
          (caller, container, key) ->
              credentials.get(0).equals(caller)
                  ? new AccessGrant(credentials.get(1), files)
                  : null);
      startListening(server, listen);
      HostPort reached =
          new HostPort(
              listen.host().equals("0.0.0.0") || listen.host().equals("::")
                  ? "127.0.0.1"
                  : listen.host(),
              port(server, identity.isPresent()));
      S3Settings settings =
          new S3Settings(
              scheme + "://" + reached, REGION, BUCKET, credentials.get(0), credentials.get(1));
      return new EmbeddedS3(server, identity, folder, settings, clock, reservedBytes);
    } catch (ObjectStoreException e) {
      throw e;
    } catch (IOException e) {
      throw new ObjectStoreException(
          Kind.UNAVAILABLE, "the object store cannot use " + dataDir + ": " + e, e);
    }
  }

  private static void startListening(S3Proxy server, HostPort listen) throws ObjectStoreException {
    try {
      server.start();
    } catch (Exception e) {
      Throwable cause = e.getCause() == null ? e : e.getCause();
      throw new ObjectStoreException(
          Kind.UNAVAILABLE,
          "the object store cannot listen on " + listen + ": " + cause.getMessage(),
          e);
    }
  }

  private static List<String> credentials(Path dataDir) throws IOException {
    Path file = dataDir.resolve(KEY_FILE);
    if (!Files.exists(file)) {
      byte[] random = new byte[48];
      new SecureRandom().nextBytes(random);
      String hex = HexFormat.of().formatHex(random);
      Path made = file.resolveSibling(KEY_FILE + ".new");
      Files.deleteIfExists(made);
      Files.createFile(
          made, PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rw-------")));
      Files.writeString(made, hex.substring(0, 32) + "\n" + hex.substring(32) + "\n");
      force(made);
      Files.move(made, file, StandardCopyOption.ATOMIC_MOVE);
      force(dataDir);
    }
    List<String> lines = Files.readAllLines(file, StandardCharsets.UTF_8);
    if (lines.size() != 2) {
      throw new IOException(
          file + " is damaged (expected two lines); remove it to have new ones made");
    }
    return lines;
  }

  /** Where the server listens. */
  public int port() {
    return port(server, tls);
  }

  private static int port(S3Proxy server, boolean tls) {
    return tls ? server.getSecurePort() : server.getPort();
  }

  private static String scheme(boolean tls) {
    return tls ? "https" : "http";
  }

  @Override
  String originFor(String host) {
    return scheme(tls) + "://" + new HostPort(host, port());
  }

  // The server joins parts by copying them.
  @Override
  public String beginUpload(String key, UploadContent content) throws ObjectStoreException {
    requireRoom(content, content.getPartsCount() > 1 ? 2 : 1);
    return super.beginUpload(key, content);
  }

  // Some parts may be there; the copy is still to be made.
  @Override
  public void continueUpload(UploadContent content) throws ObjectStoreException {
    requireRoom(content, 1);
  }

  private void requireRoom(UploadContent content, int copies) throws ObjectStoreException {
    long needed = content.getBytes() * copies + reservedBytes;
    long free = freeIn(folder);
    if (free < needed) {
      throw full("an upload of %d bytes needs %d".formatted(content.getBytes(), needed), free);
    }
  }

  // The server does not tell a full disk from other failures in all that it does.
  @Override
  ObjectStoreException translate(String doing, Throwable thrown) {
    ObjectStoreException failure = super.translate(doing, thrown);
    long free = freeIn(folder);
    return failure.kind() == Kind.NO_SPACE
            || (failure.kind() == Kind.UNAVAILABLE && free < reservedBytes)
        ? full(doing + " failed", free)
        : failure;
  }

  /** In bytes; 0 where the folder is gone. */
  private static long freeIn(Path folder) {
    return folder.toFile().getUsableSpace();
  }

  private ObjectStoreException full(String what, long free) {
    return new ObjectStoreException(Kind.NO_SPACE, noSpace(what, folder, free));
  }

  private static String noSpace(String what, Path folder, long free) {
    return "no space left on the coordinator's disk: %s, %s has %d bytes free; make room there"
        .formatted(what, folder, free);
  }

  // It would read every part once more to do so, slower than we read the whole.
  @Override
  boolean keepsChecksums() {
    return false;
  }

  @Override
  boolean holds(String key, UploadContent content, @Nullable String checksum)
      throws ObjectStoreException {
    try (InputStream bytes = Files.newInputStream(folder.resolve(key))) {
      return Checksums.match(content, bytes);
    } catch (IOException e) {
      throw new ObjectStoreException(
          Kind.UNAVAILABLE, "object " + key + " cannot be read back: " + e, e);
    }
  }

  @Override
  void sync(String key) throws ObjectStoreException {
    try {
      // Folders may be as new as the file.
      for (Path path = folder.resolve(key);
          path != null && path.startsWith(folder);
          path = path.getParent()) {
        force(path);
      }
    } catch (NoSuchFileException e) {
      throw new ObjectStoreException(Kind.MISMATCH, "object " + key + " is gone", e);
    } catch (IOException e) {
      throw new ObjectStoreException(
          Kind.UNAVAILABLE, "object " + key + " did not reach the disk: " + e, e);
    }
  }

  private static void force(Path fileOrFolder) throws IOException {
    try (FileChannel channel = FileChannel.open(fileOrFolder, StandardOpenOption.READ)) {
      channel.force(true);
    }
  }

  // The server's own listing walks all files again for each page.
  @Override
  void forEachObject(Consumer<Stat> consumer) throws ObjectStoreException {
    forEachFile(
        (path, attributes) -> {
          if (!isServersOwn(path)) {
            consumer.accept(
                new Stat(
                    folder.relativize(path).toString(),
                    attributes.size(),
                    attributes.lastModifiedTime().toInstant()));
          }
        });
  }

  private boolean isServersOwn(Path path) {
    return SERVERS_OWN.matcher(folder.relativize(path).getName(0).toString()).matches();
  }

  /** As promised; and what a crash left half written before this start goes whatever its age. */
  @Override
  public int sweep(Instant before, Predicate<String> unreferenced) throws ObjectStoreException {
    Set<String> open = openUploads(unreferenced);
    int[] removed = {0};
    forEachFile(
        (path, attributes) -> {
          boolean unfinished =
              !folder.equals(path.getParent())
                  && UNFINISHED.matcher(path.getFileName().toString()).matches();
          Instant modified = attributes.lastModifiedTime().toInstant();
          if (((unfinished && modified.isBefore(startedAt))
                  || (isServersOwn(path)
                      && modified.isBefore(before)
                      && !open.contains(uploadOf(path))))
              && removes(path)) {
            removed[0]++;
          }
        });
    return removed[0] + super.sweep(before, unreferenced);
  }

  /** The uploads that the database knows: they may take more than a day. */
  private Set<String> openUploads(Predicate<String> unreferenced) throws ObjectStoreException {
    Set<String> open = new HashSet<>();
    forEachFile(
        (path, attributes) -> {
          Matcher part = PART.matcher(folder.relativize(path).toString());
          if (part.matches() && !unreferenced.test(part.group(2))) {
            open.add(part.group(1));
          }
        });
    return open;
  }

  /** The upload that one of the server's own files belongs to; empty where it names none. */
  private String uploadOf(Path path) {
    String name = folder.relativize(path).toString();
    for (Pattern form : List.of(PART, NOTE)) {
      Matcher matcher = form.matcher(name);
      if (matcher.matches()) {
        return matcher.group(1);
      }
    }
    return "";
  }

  // One that stays must not keep the others.
  private boolean removes(Path path) {
    try {
      remove(path);
      return true;
    } catch (IOException e) {
      log.warn("left over and not removed: {}", path, e);
      return false;
    }
  }

  private void remove(Path path) throws IOException {
    Files.deleteIfExists(path);
    try {
      for (Path up = path.getParent(); up != null && !up.equals(folder); up = up.getParent()) {
        Files.delete(up);
      }
    } catch (DirectoryNotEmptyException | NoSuchFileException e) {
      // In use, or gone already.
    }
  }

  // The server names no time at which an upload began, and takes parts of uploads that are over.
  // So uploads are swept as the files that they are.
  @Override
  int abortUploadsBegunBefore(Instant before, Predicate<String> unreferenced) {
    return 0;
  }

  private interface FileVisit {
    void visit(Path path, BasicFileAttributes attributes) throws IOException;
  }

  private void forEachFile(FileVisit consumer) throws ObjectStoreException {
    try {
      Files.walkFileTree(
          folder,
          new SimpleFileVisitor<>() {
            @Override
            public FileVisitResult visitFile(Path path, BasicFileAttributes attributes)
                throws IOException {
              consumer.visit(path, attributes);
              return FileVisitResult.CONTINUE;
            }

            @Override
            public FileVisitResult visitFileFailed(Path path, IOException e) throws IOException {
              // Files come and go meanwhile.
              if (e instanceof NoSuchFileException) {
                return FileVisitResult.CONTINUE;
              }
              throw e;
            }

            @Override
            public FileVisitResult postVisitDirectory(Path path, @Nullable IOException e)
                throws IOException {
              if (e == null || e instanceof NoSuchFileException) {
                return FileVisitResult.CONTINUE;
              }
              throw e;
            }
          });
    } catch (IOException e) {
      throw new ObjectStoreException(Kind.UNAVAILABLE, "cannot go through " + folder, e);
    }
  }

  @Override
  public void close() {
    super.close();
    try {
      server.stop();
    } catch (TimeoutException e) {
      log.info("the object store stopped with transfers under way; their senders try again");
    } catch (Exception e) {
      throw new IllegalStateException("the object store's server did not stop", e);
    }
  }

  /**
   * What a request without a signature sees. The server takes files and folders that everybody may
   * read, as an ordinary umask makes them, for public ones, and would list them to anybody.
   */
  private static final class NothingPublic extends ForwardingBlobStore {
    NothingPublic(BlobStore delegate) {
      super(delegate);
    }

    @Override
    public BucketCannedACL getContainerAccess(String container) {
      return BucketCannedACL.PRIVATE;
    }

    @Override
    public ObjectCannedACL getBlobAccess(String container, String key) {
      return ObjectCannedACL.PRIVATE;
    }
  }
}
