-- Change control of models. model_change is only ever added to: what holds follows from its rows in their order.
-- model is '-' for all models. state is '' for a change of the switch that stops release. emergency is 1 for what one
-- person did alone where two are asked for.
CREATE TABLE model_change (
    number BIGINT NOT NULL PRIMARY KEY,
    time_ms BIGINT NOT NULL,
    kind VARCHAR(20) NOT NULL,
    model VARCHAR(63) NOT NULL,
    version VARCHAR(50) NOT NULL,
    sha256 VARCHAR(64) NOT NULL,
    state VARCHAR(20) NOT NULL,
    reason TEXT NOT NULL,
    caller TEXT NOT NULL,
    proposal BIGINT NOT NULL,
    proposed_by TEXT NOT NULL,
    emergency INTEGER NOT NULL
);
CREATE INDEX model_change_by_model ON model_change (model, number);
-- Which version an assessment was pinned to; kept after its run is gone, so that a model can be recalled.
CREATE TABLE model_use (
    assessment VARCHAR(63) NOT NULL PRIMARY KEY,
    model VARCHAR(63) NOT NULL,
    sha256 VARCHAR(64) NOT NULL,
    create_time_ms BIGINT NOT NULL
);
CREATE INDEX model_use_by_time ON model_use (model, create_time_ms, assessment);
