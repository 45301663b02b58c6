-- What a complete study is found by: the patient, the date, the modalities; and the document with all of its headers.
-- A study that an earlier release completed has no index until it is first used or looked for.
ALTER TABLE study ADD COLUMN index_sha256 TEXT;
ALTER TABLE study ADD COLUMN index_size_bytes INTEGER;
ALTER TABLE study ADD COLUMN study_date TEXT;
CREATE INDEX study_by_index ON study (index_sha256);
CREATE INDEX study_by_date ON study (study_date);
CREATE TABLE patient (
    patient_key INTEGER PRIMARY KEY,
    patient_id TEXT NOT NULL,
    issuer_of_patient_id TEXT NOT NULL,
    UNIQUE (patient_id, issuer_of_patient_id)
) STRICT;
CREATE TABLE study_patient (
    patient_key INTEGER NOT NULL REFERENCES patient,
    study_id TEXT NOT NULL REFERENCES study ON DELETE CASCADE,
    PRIMARY KEY (patient_key, study_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX study_patient_by_study ON study_patient (study_id);
CREATE TABLE series (
    study_id TEXT NOT NULL REFERENCES study ON DELETE CASCADE,
    series_instance_uid TEXT NOT NULL,
    modality TEXT NOT NULL,
    PRIMARY KEY (study_id, series_instance_uid, modality)
) STRICT, WITHOUT ROWID;
CREATE INDEX series_by_modality ON series (modality, study_id);
