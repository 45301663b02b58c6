-- Whose a study is where an installation serves several tenants; empty where it does not, and for earlier releases.
ALTER TABLE study ADD COLUMN tenant TEXT NOT NULL DEFAULT '';
CREATE INDEX study_by_tenant ON study (tenant, create_time_ns, study_id);
