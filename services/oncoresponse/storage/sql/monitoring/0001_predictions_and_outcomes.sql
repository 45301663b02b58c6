-- What was predicted, and what happened; SQLite and PostgreSQL read the same words. IF NOT EXISTS, because release 0.1.0
-- made the same tables and kept no number of the schema.
CREATE TABLE IF NOT EXISTS monitoring_prediction (
    assessment VARCHAR(100) NOT NULL PRIMARY KEY,
    month VARCHAR(7) NOT NULL,
    model_name VARCHAR(63) NOT NULL,
    model_version VARCHAR(50) NOT NULL,
    model_sha256 VARCHAR(64) NOT NULL,
    inputs JSON NOT NULL,
    answer VARCHAR(50) NOT NULL,
    abstained BOOLEAN NOT NULL,
    probability FLOAT(53),
    interval_low FLOAT(53),
    interval_high FLOAT(53),
    outside_score FLOAT(53),
    abstain_codes JSON NOT NULL,
    baseline_probability FLOAT(53),
    groups JSON NOT NULL
);
CREATE INDEX IF NOT EXISTS ix_monitoring_prediction_model_name ON monitoring_prediction (model_name);
CREATE TABLE IF NOT EXISTS monitoring_outcome (
    assessment VARCHAR(100) NOT NULL PRIMARY KEY REFERENCES monitoring_prediction (assessment),
    favorable BOOLEAN,
    follow_up_months INTEGER,
    groups JSON NOT NULL
);
