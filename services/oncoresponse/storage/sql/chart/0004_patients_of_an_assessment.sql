-- Whose an assessment is, is asked for the audit record with each call about it.
CREATE INDEX chart_patient_by_assessment ON chart_patient (assessment);
