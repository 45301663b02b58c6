-- Accession numbers of the series of complete studies, from their index, and orders that ask for assessments of them.
-- accession_known: they are noted. Of studies that an earlier release completed they are noted after the start.
ALTER TABLE study ADD COLUMN accession_known INTEGER NOT NULL DEFAULT 0;
CREATE INDEX study_without_accession ON study (study_id) WHERE NOT accession_known AND index_sha256 IS NOT NULL;
CREATE TABLE study_accession (
    accession_number TEXT NOT NULL,
    study_id TEXT NOT NULL REFERENCES study ON DELETE CASCADE,
    PRIMARY KEY (accession_number, study_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX study_accession_by_study ON study_accession (study_id);
CREATE TABLE imaging_order (
    order_id TEXT PRIMARY KEY,
    source TEXT NOT NULL,
    order_number TEXT NOT NULL,
    accession_number TEXT NOT NULL,
    patient_id TEXT NOT NULL,
    issuer_of_patient_id TEXT NOT NULL,
    birth_date TEXT NOT NULL,
    sex TEXT NOT NULL,
    codes TEXT NOT NULL,
    patient_reference TEXT NOT NULL,
    service_request_reference TEXT NOT NULL,
    encounter_reference TEXT NOT NULL,
    state TEXT NOT NULL,
    study TEXT NOT NULL,
    assessment TEXT NOT NULL,
    reason TEXT NOT NULL,
    create_time_ns INTEGER NOT NULL,
    change_time_ns INTEGER NOT NULL
) STRICT;
CREATE INDEX imaging_order_by_time ON imaging_order (create_time_ns, order_id);
CREATE INDEX imaging_order_by_accession ON imaging_order (accession_number);
CREATE INDEX imaging_order_by_patient ON imaging_order (patient_id);
