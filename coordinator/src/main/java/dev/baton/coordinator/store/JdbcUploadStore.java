package dev.baton.coordinator.store;

import dev.baton.coordinator.core.Upload;
import dev.baton.coordinator.core.UploadStore;
import dev.baton.v1.UploadContent;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.util.List;
import java.util.Optional;

/** Objects, in SQL. {@code created_at_ms} is when one was last referred to. */
final class JdbcUploadStore implements UploadStore {
  private final Sql sql;

  JdbcUploadStore(Sql sql) {
    this.sql = sql;
  }

  @Override
  public void insert(Upload upload) {
    sql.update(
        """
        INSERT INTO upload (id, job_id, term, object_key, multipart_id, content, created_at_ms,
          state)
        VALUES (?, ?, ?, ?, ?, ?, ?, ?)
        """,
        upload.uploadId(),
        upload.jobId(),
        upload.term(),
        upload.objectKey(),
        upload.multipartId(),
        upload.content().toByteArray(),
        upload.referredAtMs(),
        upload.state().name());
  }

  @Override
  public Optional<Upload> find(String uploadId) {
    return sql.first("SELECT * FROM upload WHERE id = ?", JdbcUploadStore::read, uploadId);
  }

  @Override
  public void setMultipartId(String uploadId, String multipartId) {
    sql.update("UPDATE upload SET multipart_id = ? WHERE id = ?", multipartId, uploadId);
  }

  @Override
  public void setState(String uploadId, Upload.State state) {
    sql.update("UPDATE upload SET state = ? WHERE id = ?", state.name(), uploadId);
  }

  @Override
  public void setReferredAt(String uploadId, long atMs) {
    sql.update("UPDATE upload SET created_at_ms = ? WHERE id = ?", atMs, uploadId);
  }

  @Override
  public void discardKey(String objectKey) {
    sql.update("UPDATE upload SET state = 'DISCARDED' WHERE object_key = ?", objectKey);
  }

  @Override
  public boolean knowsKey(String objectKey) {
    return sql.first("SELECT 1 FROM upload WHERE object_key = ?", row -> true, objectKey)
        .isPresent();
  }

  @Override
  public List<Upload> sweepable(long openBeforeMs, int limit) {
    return sql.list(
        """
        SELECT upload.* FROM upload LEFT JOIN job ON job.id = upload.job_id
        WHERE upload.state IN ('DISCARDED', 'EXPIRED')
          OR (upload.state = 'OPEN'
            AND ((upload.job_id <> '' AND upload.term < job.term)
              OR (upload.created_at_ms < ?
                AND (coalesce(job.lease_id, '') = '' OR upload.term <> job.term))))
        ORDER BY upload.created_at_ms LIMIT ?
        """,
        JdbcUploadStore::read,
        openBeforeMs,
        limit);
  }

  @Override
  public void delete(String uploadId) {
    sql.update("DELETE FROM upload WHERE id = ?", uploadId);
  }

  private static Upload read(ResultSet row) throws SQLException {
    return new Upload(
        row.getString("id"),
        row.getString("job_id"),
        row.getLong("term"),
        row.getString("object_key"),
        row.getString("multipart_id"),
        Protos.parse(UploadContent.parser(), row.getBytes("content")),
        row.getLong("created_at_ms"),
        Upload.State.valueOf(row.getString("state")));
  }
}
