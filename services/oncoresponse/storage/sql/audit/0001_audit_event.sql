-- The audit record: each row holds the hash of the one before. Rows are never changed; triggers refuse it.
CREATE TABLE audit_event (
    sequence BIGINT NOT NULL PRIMARY KEY,
    event TEXT NOT NULL,
    previous_hash VARCHAR(64) NOT NULL,
    own_hash VARCHAR(64) NOT NULL
);
