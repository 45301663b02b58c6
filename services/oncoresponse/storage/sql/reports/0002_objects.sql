-- DICOM objects of a version: its verified structured report, or the note that rejects what was withdrawn.
CREATE TABLE report_object (
    assessment VARCHAR(63) NOT NULL,
    version INTEGER NOT NULL CHECK (version > 1),
    name VARCHAR(64) NOT NULL,
    sha256 VARCHAR(64) NOT NULL,
    size_bytes BIGINT NOT NULL,
    PRIMARY KEY (assessment, version, name)
);
