package dev.baton.coordinator.objectstore;

import java.io.FilterInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.util.Objects;
import java.util.function.Supplier;
import java.util.stream.Stream;
import org.gaul.s3proxy.blobstore.BlobStore;
import org.gaul.s3proxy.blobstore.ForwardingBlobStore;
import org.gaul.s3proxy.blobstore.domain.MultipartUpload;
import software.amazon.awssdk.awscore.exception.AwsErrorDetails;
import software.amazon.awssdk.services.s3.model.CompleteMultipartUploadRequest;
import software.amazon.awssdk.services.s3.model.CompleteMultipartUploadResponse;
import software.amazon.awssdk.services.s3.model.CreateMultipartUploadRequest;
import software.amazon.awssdk.services.s3.model.PutObjectRequest;
import software.amazon.awssdk.services.s3.model.PutObjectResponse;
import software.amazon.awssdk.services.s3.model.S3Exception;
import software.amazon.awssdk.services.s3.model.UploadPartRequest;
import software.amazon.awssdk.services.s3.model.UploadPartResponse;

/**
 * Answers a write that the disk has no room for with 507 (InsufficientStorage) and a line for
 * people, where the server would answer 500. What was written of the object is gone by then.
 */
final class FullDisk extends ForwardingBlobStore {
  private final Supplier<String> line;

  /**
   * @param line what to tell the sender
   */
  FullDisk(BlobStore delegate, Supplier<String> line) {
    super(delegate);
    this.line = line;
  }

  @Override
  public PutObjectResponse putBlob(PutObjectRequest request, InputStream payload) {
    return write(() -> super.putBlob(request, new Body(payload)));
  }

  @Override
  public MultipartUpload initiateMultipartUpload(CreateMultipartUploadRequest request) {
    return write(() -> super.initiateMultipartUpload(request));
  }

  @Override
  public UploadPartResponse uploadMultipartPart(
      MultipartUpload upload, UploadPartRequest request, InputStream payload) {
    return write(() -> super.uploadMultipartPart(upload, request, new Body(payload)));
  }

  @Override
  public CompleteMultipartUploadResponse completeMultipartUpload(
      MultipartUpload upload, CompleteMultipartUploadRequest request) {
    return write(() -> super.completeMultipartUpload(upload, request));
  }

  /**
   * Is taken to its end even where it cannot be kept: a sender whose connection is closed in the
   * midst of a body never reads the answer.
   */
  private static final class Body extends FilterInputStream {
    Body(InputStream payload) {
      super(payload);
    }

    @Override
    public void close() throws IOException {
      try (InputStream payload = in) {
        var unused = payload.transferTo(OutputStream.nullOutputStream());
      }
    }
  }

  private <T> T write(Supplier<T> call) {
    try {
      return call.get();
    } catch (RuntimeException e) {
      throw isNoSpace(e) ? insufficientStorage(e) : e;
    }
  }

  // Java has no exception of its own for ENOSPC and EDQUOT, only what the C library calls them.
  private static boolean isNoSpace(Throwable thrown) {
    return Stream.<Throwable>iterate(thrown, Objects::nonNull, Throwable::getCause)
        .filter(IOException.class::isInstance)
        .map(cause -> String.valueOf(cause.getMessage()))
        .anyMatch(m -> m.contains("No space left on device") || m.contains("quota exceeded"));
  }

  private S3Exception insufficientStorage(RuntimeException cause) {
    return (S3Exception)
        S3Exception.builder()
            .message("no space left")
            .cause(cause)
            .statusCode(507)
            .awsErrorDetails(
                AwsErrorDetails.builder()
                    .errorCode("InsufficientStorage")
                    .errorMessage(line.get())
                    .build())
            .build();
  }
}
