-- The resources of reports as they are read by FHIR: each once, in its newest version, and by what it is found. Made of
-- the Bundles of the reports, in the transaction of the version, so all of it can be made again. Times in milliseconds
-- since 1970 by the clock of the database.
--
-- withdrawn: the newest version says that it was entered in error, and holds no finding. moved: its study was given to
-- another person, so that it names the wrong one; nobody finds it by a patient.
CREATE TABLE fhir_report (
    assessment VARCHAR(63) NOT NULL PRIMARY KEY,
    tenant VARCHAR(63) NOT NULL,
    version INTEGER NOT NULL CHECK (version > 0),
    withdrawn INTEGER NOT NULL,
    moved INTEGER NOT NULL
);
CREATE TABLE fhir_patient (
    assessment VARCHAR(63) NOT NULL,
    kind VARCHAR(20) NOT NULL,
    system TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (value, kind, system, assessment)
);
CREATE INDEX fhir_patient_by_assessment ON fhir_patient (assessment);
-- deleted: it was there, and is not any more. place: where its bytes are in the Bundle with source_sha256.
CREATE TABLE fhir_resource (
    id VARCHAR(36) NOT NULL PRIMARY KEY,
    type VARCHAR(40) NOT NULL,
    tenant VARCHAR(63) NOT NULL,
    version INTEGER NOT NULL CHECK (version > 0),
    last_updated_ms BIGINT NOT NULL,
    sort_ms BIGINT NOT NULL,
    deleted INTEGER NOT NULL,
    digest VARCHAR(64) NOT NULL,
    content TEXT NOT NULL,
    place TEXT NOT NULL,
    source_sha256 VARCHAR(64) NOT NULL,
    source_bytes BIGINT NOT NULL
);
CREATE INDEX fhir_resource_by_time ON fhir_resource (type, tenant, deleted, last_updated_ms, id);
CREATE INDEX fhir_resource_by_date ON fhir_resource (type, tenant, deleted, sort_ms, id);
-- Which reports a resource belongs to: one, but for what describes no patient.
CREATE TABLE fhir_use (
    assessment VARCHAR(63) NOT NULL,
    type VARCHAR(40) NOT NULL,
    id VARCHAR(36) NOT NULL,
    PRIMARY KEY (assessment, type, id)
);
CREATE INDEX fhir_use_by_resource ON fhir_use (id, assessment);
-- Of what follows, the keys serve the question whether a resource has a value, and the indexes which ones have it. Both
-- hold all columns, so that each is the better one for its question also where the database has no statistics.
CREATE TABLE fhir_token (
    parameter VARCHAR(80) NOT NULL,
    value TEXT NOT NULL,
    system TEXT NOT NULL,
    id VARCHAR(36) NOT NULL,
    PRIMARY KEY (id, parameter, value, system)
);
CREATE INDEX fhir_token_by_value ON fhir_token (parameter, value, system, id);
CREATE TABLE fhir_date (
    parameter VARCHAR(80) NOT NULL,
    low_ms BIGINT NOT NULL,
    high_ms BIGINT NOT NULL,
    id VARCHAR(36) NOT NULL,
    PRIMARY KEY (id, parameter, low_ms, high_ms)
);
CREATE INDEX fhir_date_by_begin ON fhir_date (parameter, low_ms, high_ms, id);
CREATE INDEX fhir_date_by_end ON fhir_date (parameter, high_ms, low_ms, id);
CREATE TABLE fhir_reference (
    parameter VARCHAR(80) NOT NULL,
    target TEXT NOT NULL,
    id VARCHAR(36) NOT NULL,
    PRIMARY KEY (id, parameter, target)
);
CREATE INDEX fhir_reference_by_target ON fhir_reference (target, parameter, id);
