-- The processes that run assessments, one row for each executor_id. epoch is the fencing token: it grows at each start and
-- when the worker is declared lost, and who holds an earlier one may not go on. beat_ms is the time of its last sign of
-- life by the clock of the database. place is the folder of locks in which the process holds the lock of this name.
CREATE TABLE worker (
    executor_id VARCHAR(63) NOT NULL PRIMARY KEY,
    epoch BIGINT NOT NULL,
    living INTEGER NOT NULL,
    beat_ms BIGINT NOT NULL,
    beat_seconds DOUBLE PRECISION NOT NULL,
    place VARCHAR(63) NOT NULL
);
