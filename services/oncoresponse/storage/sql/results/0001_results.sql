-- What an assessment ended with, kept after its rows in the workflow engine's tables have expired. message is the
-- Assessment of the public API as JSON; request_sha256 tells a repeated request from another one with the same id.
-- Goes with its row in the chart.
CREATE TABLE chart_result (
    assessment VARCHAR(63) NOT NULL PRIMARY KEY REFERENCES chart_assessment (assessment) ON DELETE CASCADE,
    message TEXT NOT NULL,
    request_sha256 VARCHAR(64) NOT NULL
);
