-- Every word that a physician said to a card, by the time at which the EHR says that it was said (never later than it
-- came), of which cds_card has the last one. And whether a card kept the answer of the model back (judgement_first).
CREATE TABLE cds_feedback (
    card VARCHAR(36) NOT NULL,
    assessment VARCHAR(63) NOT NULL,
    outcome VARCHAR(20) NOT NULL,
    override_reason VARCHAR(320) NOT NULL,
    comment TEXT NOT NULL,
    outcome_time_ms BIGINT NOT NULL,
    create_time_ms BIGINT NOT NULL,
    PRIMARY KEY (card, outcome_time_ms, outcome, override_reason)
);
CREATE INDEX cds_feedback_by_assessment ON cds_feedback (assessment);
INSERT INTO cds_feedback (card, assessment, outcome, override_reason, comment, outcome_time_ms, create_time_ms)
SELECT card, assessment, outcome, override_reason, '', create_time_ms, create_time_ms FROM cds_card WHERE outcome <> '';
ALTER TABLE cds_card ADD COLUMN answer_withheld INTEGER NOT NULL DEFAULT 0;
CREATE INDEX cds_card_by_physician ON cds_card (physician, assessment);
