-- Jobs by order of submission, so that new ones append. lease_id is '' where the job has none.
CREATE TABLE job (
  seq INTEGER PRIMARY KEY,
  id TEXT NOT NULL UNIQUE,
  request_id TEXT NOT NULL UNIQUE,
  spec BLOB NOT NULL,
  spec_digest TEXT NOT NULL,
  created_at_ms INTEGER NOT NULL,
  state TEXT NOT NULL,
  term INTEGER NOT NULL,
  lease_id TEXT NOT NULL,
  worker_id TEXT NOT NULL,
  worker_name TEXT NOT NULL,
  retried INTEGER NOT NULL,
  abrupt_in_a_row INTEGER NOT NULL,
  not_before_ms INTEGER NOT NULL,
  kind_first TEXT NOT NULL,
  kind_machine TEXT NOT NULL,
  kind_changed INTEGER NOT NULL,
  reason TEXT NOT NULL,
  progress BLOB NOT NULL,
  ended_at_ms INTEGER NOT NULL,
  result BLOB
);
CREATE INDEX job_by_state ON job (state, seq);

CREATE TABLE attempt (
  job_id TEXT NOT NULL,
  term INTEGER NOT NULL,
  lease_id TEXT NOT NULL,
  worker_id TEXT NOT NULL,
  worker_name TEXT NOT NULL,
  workers TEXT NOT NULL,
  started_at_ms INTEGER NOT NULL,
  ended_at_ms INTEGER NOT NULL,
  end_reason TEXT NOT NULL,
  outcome INTEGER NOT NULL,
  resumed_step INTEGER NOT NULL,
  first_step INTEGER NOT NULL,
  last_step INTEGER NOT NULL,
  kind TEXT NOT NULL,
  PRIMARY KEY (job_id, term)
) WITHOUT ROWID;

CREATE TABLE checkpoint (
  job_id TEXT NOT NULL,
  id TEXT NOT NULL,
  term INTEGER NOT NULL,
  step INTEGER NOT NULL,
  bytes INTEGER NOT NULL,
  sha256 TEXT NOT NULL,
  object_key TEXT NOT NULL,
  committed_at_ms INTEGER NOT NULL,
  PRIMARY KEY (job_id, id)
) WITHOUT ROWID;

-- value is NULL for NaN, which SQLite does not store.
CREATE TABLE metric_point (
  job_id TEXT NOT NULL,
  series TEXT NOT NULL,
  step INTEGER NOT NULL,
  value REAL,
  time_ms INTEGER NOT NULL,
  PRIMARY KEY (job_id, series, step)
) WITHOUT ROWID;

CREATE TABLE artifact (
  job_id TEXT NOT NULL,
  name TEXT NOT NULL,
  bytes INTEGER NOT NULL,
  sha256 TEXT NOT NULL,
  object_key TEXT NOT NULL,
  created_at_ms INTEGER NOT NULL,
  PRIMARY KEY (job_id, name)
) WITHOUT ROWID;

-- Pieces of a job's log: position is counted in the job's whole log, term_position in the term's part.
CREATE TABLE log_piece (
  job_id TEXT NOT NULL,
  position INTEGER NOT NULL,
  term INTEGER NOT NULL,
  term_position INTEGER NOT NULL,
  bytes INTEGER NOT NULL,
  data BLOB NOT NULL
);
CREATE UNIQUE INDEX log_piece_by_position ON log_piece (job_id, position, bytes);
CREATE UNIQUE INDEX log_piece_by_term ON log_piece (job_id, term, term_position, bytes);

-- object_keys: one for each file, a line each.
CREATE TABLE dataset (
  name TEXT PRIMARY KEY,
  digest TEXT NOT NULL,
  dataset BLOB NOT NULL,
  object_keys TEXT NOT NULL
);
CREATE INDEX dataset_by_digest ON dataset (digest);

-- job_id is '' for a file of a data set.
CREATE TABLE upload (
  id TEXT PRIMARY KEY,
  job_id TEXT NOT NULL,
  term INTEGER NOT NULL,
  object_key TEXT NOT NULL UNIQUE,
  multipart_id TEXT NOT NULL,
  content BLOB NOT NULL,
  created_at_ms INTEGER NOT NULL,
  state TEXT NOT NULL
);
CREATE INDEX upload_by_state ON upload (state, created_at_ms);

CREATE TABLE token (
  id TEXT PRIMARY KEY,
  sha256 TEXT NOT NULL UNIQUE,
  role TEXT NOT NULL,
  created_at_ms INTEGER NOT NULL,
  expires_at_ms INTEGER NOT NULL
);
