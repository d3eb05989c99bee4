package dev.baton.coordinator.grpc;

import dev.baton.coordinator.core.CoordinatorException;
import dev.baton.coordinator.core.DatasetRecord;
import dev.baton.coordinator.core.Reads;
import dev.baton.coordinator.core.Scheduler;
import dev.baton.coordinator.core.Upload;
import dev.baton.coordinator.loop.CoreLoop;
import dev.baton.v1.CommitDatasetRequest;
import dev.baton.v1.CompletedUpload;
import dev.baton.v1.CreateDatasetUploadRequest;
import dev.baton.v1.Dataset;
import dev.baton.v1.DatasetServiceGrpc;
import dev.baton.v1.DeleteDatasetRequest;
import dev.baton.v1.DeleteDatasetResponse;
import dev.baton.v1.GetDatasetRequest;
import dev.baton.v1.ListDatasetsRequest;
import dev.baton.v1.ListDatasetsResponse;
import dev.baton.v1.UploadTicket;
import io.grpc.stub.StreamObserver;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Executor;

/** Data sets. */
final class DatasetGrpcService extends DatasetServiceGrpc.DatasetServiceImplBase {
  private final CoreLoop<Scheduler> loop;
  private final Transfers transfers;
  private final Reads reads;
  private final Executor blocking;

  DatasetGrpcService(
      CoreLoop<Scheduler> loop, Transfers transfers, Reads reads, Executor blocking) {
    this.loop = loop;
    this.transfers = transfers;
    this.reads = reads;
    this.blocking = blocking;
  }

  @Override
  public void createDatasetUpload(
      CreateDatasetUploadRequest request, StreamObserver<UploadTicket> responses) {
    Replies.reply(
        responses,
        () ->
            transfers.uploadTicket(
                loop.submit(
                    (core, now) ->
                        core.createDatasetUpload(
                            request.getUploadId(), request.getContent(), now))));
  }

  @Override
  public void commitDataset(CommitDatasetRequest request, StreamObserver<Dataset> responses) {
    Replies.reply(
        responses,
        () -> {
          List<String> ids =
              request.getUploadsList().stream().map(CompletedUpload::getUploadId).toList();
          CompletableFuture<List<Upload>> known =
              loop.submit((core, now) -> ids.stream().map(core::datasetUpload).toList());
          return known
              .thenCompose(uploads -> verified(uploads, request.getUploadsList()))
              .thenCompose(
                  done ->
                      loop.submit(
                          (core, now) -> core.commitDataset(request.getDataset(), ids, now)));
        });
  }

  private CompletableFuture<Void> verified(List<Upload> uploads, List<CompletedUpload> completed) {
    var all = new CompletableFuture<?>[uploads.size()];
    for (int i = 0; i < all.length; i++) {
      all[i] = transfers.verified(uploads.get(i), completed.get(i));
    }
    return CompletableFuture.allOf(all);
  }

  @Override
  public void getDataset(GetDatasetRequest request, StreamObserver<Dataset> responses) {
    Replies.reply(
        responses,
        () ->
            CompletableFuture.supplyAsync(
                () ->
                    reads
                        .read(stores -> stores.datasets().find(request.getName()))
                        .map(DatasetRecord::dataset)
                        .orElseThrow(
                            () ->
                                new CoordinatorException(
                                    CoordinatorException.Kind.NOT_FOUND,
                                    "there is no data set " + request.getName())),
                blocking));
  }

  @Override
  public void listDatasets(
      ListDatasetsRequest request, StreamObserver<ListDatasetsResponse> responses) {
    Replies.reply(
        responses,
        () ->
            CompletableFuture.supplyAsync(
                () ->
                    ListDatasetsResponse.newBuilder()
                        .addAllDatasets(
                            reads.read(stores -> stores.datasets().list()).stream()
                                .map(DatasetRecord::dataset)
                                .toList())
                        .build(),
                blocking));
  }

  @Override
  public void deleteDataset(
      DeleteDatasetRequest request, StreamObserver<DeleteDatasetResponse> responses) {
    Replies.reply(
        responses,
        () ->
            loop.submit(
                (core, now) -> {
                  core.deleteDataset(request.getName(), now);
                  return DeleteDatasetResponse.getDefaultInstance();
                }));
  }
}
