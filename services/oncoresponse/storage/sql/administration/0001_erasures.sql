-- Erasures, so that one which a crash interrupts is ended later. what_goes holds names and digests until they are gone
-- (a JSON document of oncoresponse.storage.erasure_store), and nothing afterwards; no Patient ID stands in any column.
CREATE TABLE administration_erasure (
    erasure VARCHAR(63) NOT NULL PRIMARY KEY,
    create_time_ms BIGINT NOT NULL,
    state VARCHAR(20) NOT NULL,
    confirmation VARCHAR(64) NOT NULL,
    what_goes TEXT NOT NULL,
    answer TEXT NOT NULL,
    sweep_time_ms BIGINT NOT NULL,
    worker VARCHAR(63) NOT NULL,
    lease_until_ms BIGINT NOT NULL
);
CREATE INDEX administration_erasure_by_state ON administration_erasure (state);
CREATE TABLE administration_daily_task (
    task VARCHAR(63) NOT NULL,
    day VARCHAR(10) NOT NULL,
    PRIMARY KEY (task, day)
);
