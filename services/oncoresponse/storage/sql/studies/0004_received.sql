-- What came by an edge (C-STORE, HTTP), and what became of it; and which earlier study a later one holds too.
ALTER TABLE study ADD COLUMN supersedes TEXT NOT NULL DEFAULT '';
CREATE INDEX study_by_supersedes ON study (supersedes) WHERE supersedes != '';
CREATE TABLE received_study (
    study_id TEXT PRIMARY KEY REFERENCES study ON DELETE CASCADE,
    complete_time_ns INTEGER NOT NULL,
    way TEXT NOT NULL,
    ae_title TEXT NOT NULL,
    state TEXT NOT NULL,
    rule TEXT NOT NULL,
    assessment TEXT NOT NULL,
    reason TEXT NOT NULL,
    prior_count INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX received_study_by_time ON received_study (complete_time_ns, study_id);
CREATE INDEX received_study_by_state ON received_study (state, way);
