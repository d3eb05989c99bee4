package dev.baton.coordinator.objectstore;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.baton.coordinator.core.ObjectStoreException;
import dev.baton.coordinator.core.ObjectStoreException.Kind;
import dev.baton.coordinator.testing.SmallDisk;
import dev.baton.rpc.HostPort;
import dev.baton.transfer.Contents;
import dev.baton.transfer.HttpObjectTransfer;
import dev.baton.transfer.TransferListener;
import dev.baton.v1.CompletedUpload;
import dev.baton.v1.UploadContent;
import dev.baton.v1.UploadTicket;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.InstantSource;
import java.util.List;
import java.util.Optional;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** A disk that runs full while an object is on its way, which no check beforehand can exclude. */
class FullDiskTest {
  private static final int MIB = 1 << 20;

  @TempDir Path dir;

  @SuppressWarnings("NullAway.Init") // by start
  private SmallDisk disk;

  @SuppressWarnings("NullAway.Init") // by start
  private EmbeddedS3 store;

  @BeforeEach
  void start() throws Exception {
    disk = SmallDisk.mount(dir.resolve("disk"), 24);
    store =
        EmbeddedS3.start(
            disk.folder(),
            new HostPort("127.0.0.1", 0),
            Optional.empty(),
            InstantSource.system(),
            0);
  }

  @AfterEach
  void stop() throws Exception {
    if (store != null) {
      store.close();
    }
    if (disk != null) {
      disk.close();
    }
  }

  private Path file(int bytes) throws IOException {
    return Files.write(dir.resolve("file"), new byte[bytes]);
  }

  private CompletedUpload send(Path file, UploadContent content, String multipartId)
      throws Exception {
    UploadTicket ticket =
        UploadTicket.newBuilder()
            .addAllParts(store.presignUpload("k", multipartId, content, "127.0.0.1"))
            .build();
    return new HttpObjectTransfer().upload(file, content, () -> ticket, TransferListener.NONE);
  }

  private List<Path> objects() throws IOException {
    try (Stream<Path> files = Files.walk(disk.folder().resolve("objects/baton"))) {
      return files.filter(Files::isRegularFile).toList();
    }
  }

  @Test
  void theSenderOfAnObjectIsToldAndNothingOfItStays() throws Exception {
    Path file = file(32 * MIB);
    UploadContent content = Contents.describe(file);
    assertThatThrownBy(() -> send(file, content, ""))
        .isInstanceOf(IOException.class)
        .hasMessageStartingWith("no space left on the coordinator's disk: ")
        .hasMessageContaining(disk.folder() + "/objects/baton has ")
        .hasMessageContaining("bytes free");
    assertThat(objects()).isEmpty();
    assertThat(store.stat("k")).isEmpty();

    Path small = file(MIB);
    UploadContent fits = Contents.describe(small);
    store.commit("k", "", fits, send(small, fits, "").getEtagsList());
    assertThat(store.stat("k")).isPresent();
  }

  @Test
  void theSenderOfPartsIsTold() throws Exception {
    Path file = file(40 * MIB);
    UploadContent content = Contents.describe(file, 10 * MIB);
    disk.resize(200);
    String id = store.beginUpload("k", content);
    disk.resize(24);
    assertThatThrownBy(() -> send(file, content, id))
        .isInstanceOf(IOException.class)
        .hasMessageStartingWith("no space left on the coordinator's disk: ");
    assertThatThrownBy(() -> store.continueUpload(content))
        .isInstanceOfSatisfying(
            ObjectStoreException.class, e -> assertThat(e.kind()).isEqualTo(Kind.NO_SPACE));
    disk.resize(200);
    store.continueUpload(content);
    store.commit("k", id, content, send(file, content, id).getEtagsList());
    assertThat(objects()).hasSize(1);
  }

  @Test
  void partsThatCannotBeJoinedStayUntilTheyCan() throws Exception {
    Path file = file(18 * MIB);
    UploadContent content = Contents.describe(file, 6 * MIB);
    disk.resize(200);
    String id = store.beginUpload("k", content);
    disk.resize(24);
    List<String> etags = send(file, content, id).getEtagsList();
    assertThatThrownBy(() -> store.commit("k", id, content, etags))
        .isInstanceOfSatisfying(
            ObjectStoreException.class, e -> assertThat(e.kind()).isEqualTo(Kind.NO_SPACE))
        .hasMessageContaining("an upload of " + 18 * MIB + " bytes needs");
    assertThat(store.stat("k")).isEmpty();
    disk.resize(200);
    store.commit("k", id, content, etags);
    assertThat(store.stat("k")).get().satisfies(s -> assertThat(s.bytes()).isEqualTo(18 * MIB));
  }
}
