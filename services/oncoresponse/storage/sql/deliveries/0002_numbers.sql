-- Which delivery of its destination each is, from 1; 0 for those of an earlier release. Counted apart, so that a number is
-- never given again when rows go.
ALTER TABLE delivery ADD COLUMN number BIGINT NOT NULL DEFAULT 0;
CREATE TABLE delivery_count (
    destination VARCHAR(63) NOT NULL PRIMARY KEY,
    last BIGINT NOT NULL
);
