-- What has to be sent to others: a row for each destination of each version of a report. Times in milliseconds since
-- 1970 by the clock of the database.
CREATE TABLE delivery (
    delivery VARCHAR(36) NOT NULL PRIMARY KEY,
    assessment VARCHAR(63) NOT NULL,
    report_version INTEGER NOT NULL CHECK (report_version > 0),
    destination VARCHAR(63) NOT NULL,
    event VARCHAR(20) NOT NULL,
    state VARCHAR(20) NOT NULL,
    attempts INTEGER NOT NULL,
    -- Whether it was ever tried: something may have reached the destination. Attempts are counted anew by a resend.
    tried INTEGER NOT NULL,
    create_time_ms BIGINT NOT NULL,
    next_time_ms BIGINT NOT NULL,
    end_time_ms BIGINT NOT NULL,
    lease_token VARCHAR(64) NOT NULL,
    lease_end_ms BIGINT NOT NULL,
    reason VARCHAR(64) NOT NULL,
    message TEXT NOT NULL,
    files TEXT NOT NULL,
    receipt TEXT NOT NULL,
    UNIQUE (assessment, destination, report_version)
);
CREATE INDEX delivery_by_due ON delivery (destination, state, next_time_ms);
CREATE INDEX delivery_by_time ON delivery (create_time_ms, delivery);
