-- Contours that a person corrected: who said what, when, of which lesion, going on from what. A row is written once. What
-- was said is JSON (ContourHand); the mask is an artifact, and its digest in the row keeps it.
CREATE TABLE contour_correction (
    correction VARCHAR(63) NOT NULL PRIMARY KEY,
    assessment VARCHAR(63) NOT NULL,
    lesion INTEGER NOT NULL CHECK (lesion > 0),
    parent VARCHAR(63) NOT NULL,
    corrected_by VARCHAR(500) NOT NULL CHECK (corrected_by <> ''),
    time_ms BIGINT NOT NULL,
    hand TEXT NOT NULL,
    mask TEXT NOT NULL,
    volume_ml DOUBLE PRECISION NOT NULL,
    volume_before_ml DOUBLE PRECISION NOT NULL
);
CREATE INDEX contour_correction_by_assessment ON contour_correction (assessment, time_ms, correction);
