package dev.baton.coordinator.store;

import com.google.protobuf.ByteString;
import dev.baton.coordinator.core.LogPosition;
import dev.baton.coordinator.core.LogStore;

/** Jobs' logs, in SQL: pieces as they came. */
final class JdbcLogStore implements LogStore {
  private final Sql sql;

  JdbcLogStore(Sql sql) {
    this.sql = sql;
  }

  @Override
  public LogPosition end(String jobId, long term) {
    long inTerm =
        sql.first(
                """
                SELECT term_position + bytes FROM log_piece WHERE job_id = ? AND term = ?
                ORDER BY term_position DESC LIMIT 1
                """,
                row -> row.getLong(1),
                jobId,
                term)
            .orElse(0L);
    long inJob =
        sql.first(
                """
                SELECT position + bytes FROM log_piece WHERE job_id = ?
                ORDER BY position DESC LIMIT 1
                """,
                row -> row.getLong(1),
                jobId)
            .orElse(0L);
    return new LogPosition(inTerm, inJob);
  }

  @Override
  public void append(String jobId, long term, LogPosition at, ByteString data) {
    if (data.isEmpty()) {
      return;
    }
    sql.update(
        """
        INSERT INTO log_piece (job_id, position, term, term_position, bytes, data)
        VALUES (?, ?, ?, ?, ?, ?)
        """,
        jobId,
        at.inJob(),
        term,
        at.inTerm(),
        data.size(),
        data.toByteArray());
  }

  @Override
  public ByteString read(String jobId, long offset, int limit) {
    ByteString read = ByteString.EMPTY;
    while (read.size() < limit) {
      long from = offset + read.size();
      int rest = limit - read.size();
      ByteString piece =
          sql.first(
                  """
                  SELECT substr(data, ? - position + 1, ?) FROM log_piece
                  WHERE rowid = (
                    SELECT rowid FROM log_piece WHERE job_id = ? AND position <= ?
                    ORDER BY position DESC LIMIT 1)
                  AND position + bytes > ?
                  """,
                  row -> ByteString.copyFrom(row.getBytes(1)),
                  from,
                  rest,
                  jobId,
                  from,
                  from)
              .orElse(ByteString.EMPTY);
      if (piece.isEmpty()) {
        break;
      }
      read = read.concat(piece);
    }
    return read;
  }
}
