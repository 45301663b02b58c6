-- Cards that an EHR was given (CDS Hooks), so that what a physician says to one is known to be about it; and tokens that
-- were shown, by digest, until they have ended: each is used once. Times in milliseconds since 1970 by the clock of the
-- database.
CREATE TABLE cds_card (
    card VARCHAR(36) NOT NULL PRIMARY KEY,
    client VARCHAR(63) NOT NULL,
    assessment VARCHAR(63) NOT NULL,
    report_version INTEGER NOT NULL,
    physician VARCHAR(255) NOT NULL,
    create_time_ms BIGINT NOT NULL,
    outcome VARCHAR(20) NOT NULL,
    override_reason VARCHAR(64) NOT NULL
);
CREATE INDEX cds_card_by_assessment ON cds_card (assessment);
CREATE TABLE cds_token (
    digest VARCHAR(64) NOT NULL PRIMARY KEY,
    end_time_ms BIGINT NOT NULL
);
CREATE INDEX cds_token_by_end ON cds_token (end_time_ms);
