-- Whose an assessment is where an installation serves several tenants; empty where it does not, and for earlier releases.
ALTER TABLE chart_assessment ADD COLUMN tenant VARCHAR(63) NOT NULL DEFAULT '';
CREATE INDEX chart_assessment_by_tenant ON chart_assessment (tenant, create_time_ms, assessment);
