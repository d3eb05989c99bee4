-- The one row: what tells this database from every other. An object store names it as its owner.
CREATE TABLE database (
  id TEXT NOT NULL
);
INSERT INTO database (id) VALUES (lower(hex(randomblob(16))));
