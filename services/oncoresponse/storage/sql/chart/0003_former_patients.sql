-- Whom assessments named before their study was moved to another patient, or before two patients became one. Nothing is
-- listed by it; an erasure has to find them.
CREATE TABLE chart_former_patient (
    patient_id TEXT NOT NULL,
    issuer_of_patient_id TEXT NOT NULL,
    assessment VARCHAR(63) NOT NULL,
    PRIMARY KEY (patient_id, issuer_of_patient_id, assessment)
);
