-- What became of reports after the chain had made them. Version 1 is the chain's and has no row. A row is written once;
-- triggers that the store sets up refuse UPDATE, in the words of each database.
CREATE TABLE report_version (
    assessment VARCHAR(63) NOT NULL,
    version INTEGER NOT NULL CHECK (version > 1),
    status VARCHAR(20) NOT NULL,
    signer VARCHAR(500) NOT NULL CHECK (signer <> ''),
    signer_name VARCHAR(500) NOT NULL,
    time_seconds BIGINT NOT NULL,
    agreement VARCHAR(20) NOT NULL,
    comment TEXT NOT NULL,
    reason VARCHAR(20) NOT NULL,
    request_id VARCHAR(36) NOT NULL UNIQUE,
    request_sha256 VARCHAR(64) NOT NULL,
    bundle_sha256 VARCHAR(64) NOT NULL,
    bundle_bytes BIGINT NOT NULL,
    page_sha256 VARCHAR(64) NOT NULL,
    page_bytes BIGINT NOT NULL,
    PRIMARY KEY (assessment, version)
);
CREATE TABLE report_judgement (
    assessment VARCHAR(63) NOT NULL,
    physician VARCHAR(500) NOT NULL CHECK (physician <> ''),
    physician_name VARCHAR(500) NOT NULL,
    judgement VARCHAR(20) NOT NULL,
    comment TEXT NOT NULL,
    time_seconds BIGINT NOT NULL,
    answer_withheld INTEGER NOT NULL,
    PRIMARY KEY (assessment, physician)
);
-- An assessment that replaces an earlier one.
CREATE TABLE report_replacement (
    assessment VARCHAR(63) NOT NULL PRIMARY KEY,
    replaced VARCHAR(63) NOT NULL,
    time_ms BIGINT NOT NULL
);
CREATE INDEX report_replacement_by_replaced ON report_replacement (replaced, time_ms);
