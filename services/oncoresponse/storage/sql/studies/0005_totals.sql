-- What a study holds, counted as it grows: a study of ten thousand instances is not read whole for each that comes.
-- instance_count and size_bytes are of finished instances; counted_bytes is what counts against the quotas.
ALTER TABLE study ADD COLUMN instance_count INTEGER NOT NULL DEFAULT 0;
ALTER TABLE study ADD COLUMN size_bytes INTEGER NOT NULL DEFAULT 0;
ALTER TABLE study ADD COLUMN counted_bytes INTEGER NOT NULL DEFAULT 0;
UPDATE study SET
    instance_count = (SELECT count(*) FROM instance WHERE instance.study_id = study.study_id AND finished),
    size_bytes = (SELECT coalesce(sum(instance.size_bytes), 0) FROM instance
        WHERE instance.study_id = study.study_id AND finished),
    counted_bytes = (SELECT coalesce(sum(instance.size_bytes), 0) FROM instance
        WHERE instance.study_id = study.study_id);
CREATE TABLE store_total (counted_bytes INTEGER NOT NULL) STRICT;
INSERT INTO store_total SELECT coalesce(sum(size_bytes), 0) FROM instance;
CREATE TRIGGER instance_came AFTER INSERT ON instance BEGIN
    UPDATE study SET instance_count = instance_count + new.finished,
        size_bytes = size_bytes + new.finished * new.size_bytes, counted_bytes = counted_bytes + new.size_bytes
        WHERE study_id = new.study_id;
    UPDATE store_total SET counted_bytes = counted_bytes + new.size_bytes;
END;
CREATE TRIGGER instance_changed AFTER UPDATE ON instance BEGIN
    UPDATE study SET instance_count = instance_count + new.finished - old.finished,
        size_bytes = size_bytes + new.finished * new.size_bytes - old.finished * old.size_bytes,
        counted_bytes = counted_bytes + new.size_bytes - old.size_bytes
        WHERE study_id = new.study_id;
    UPDATE store_total SET counted_bytes = counted_bytes + new.size_bytes - old.size_bytes;
END;
CREATE TRIGGER instance_went AFTER DELETE ON instance BEGIN
    UPDATE study SET instance_count = instance_count - old.finished,
        size_bytes = size_bytes - old.finished * old.size_bytes, counted_bytes = counted_bytes - old.size_bytes
        WHERE study_id = old.study_id;
    UPDATE store_total SET counted_bytes = counted_bytes - old.size_bytes;
END;
CREATE INDEX instance_not_finished ON instance (study_id) WHERE NOT finished;
