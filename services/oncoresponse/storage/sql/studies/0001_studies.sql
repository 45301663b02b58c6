-- Studies and the instances that belong to each. IF NOT EXISTS, because release 0.1.0 made the same tables and kept no
-- number of the schema: for a data folder of that release this migration changes nothing.
CREATE TABLE IF NOT EXISTS study (
    study_id TEXT PRIMARY KEY,
    purpose_sha256 TEXT NOT NULL,
    create_time_ns INTEGER NOT NULL,
    manifest_sha256 TEXT,
    manifest_size_bytes INTEGER
) STRICT;
CREATE INDEX IF NOT EXISTS study_by_time ON study (create_time_ns, study_id);
CREATE INDEX IF NOT EXISTS study_by_manifest ON study (manifest_sha256);
CREATE TABLE IF NOT EXISTS instance (
    study_id TEXT NOT NULL REFERENCES study ON DELETE CASCADE,
    sha256 TEXT NOT NULL,
    size_bytes INTEGER NOT NULL,
    finished INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (study_id, sha256)
) STRICT;
CREATE INDEX IF NOT EXISTS instance_by_digest ON instance (sha256);
