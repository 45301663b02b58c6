-- What an assessment is found by, in the database of the assessments themselves, whose own tables cannot be searched by
-- attribute on SQLite. state is 0 until the end of the assessment has been noted. patient_known is 0 for an assessment of
-- an earlier release until somebody looks for a patient.
CREATE TABLE chart_assessment (
    assessment VARCHAR(63) NOT NULL PRIMARY KEY,
    create_time_ms BIGINT NOT NULL,
    study VARCHAR(100) NOT NULL,
    model VARCHAR(100) NOT NULL,
    state INTEGER NOT NULL,
    patient_known INTEGER NOT NULL,
    study_date VARCHAR(8) NOT NULL
);
CREATE INDEX chart_assessment_by_time ON chart_assessment (create_time_ms, assessment);
CREATE INDEX chart_assessment_by_study ON chart_assessment (study, create_time_ms, assessment);
CREATE INDEX chart_assessment_by_model ON chart_assessment (model, create_time_ms, assessment);
CREATE INDEX chart_assessment_by_state ON chart_assessment (state, create_time_ms, assessment);
CREATE INDEX chart_assessment_without_patient ON chart_assessment (patient_known);
CREATE TABLE chart_patient (
    patient_id TEXT NOT NULL,
    issuer_of_patient_id TEXT NOT NULL,
    assessment VARCHAR(63) NOT NULL REFERENCES chart_assessment,
    PRIMARY KEY (patient_id, issuer_of_patient_id, assessment)
);
