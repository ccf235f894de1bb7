-- Counts that begin or end within an hour look at few events, and at no row of those that began before.

-- Events of all cameras by ten minutes (since 1970) of their begin. Filled from the events (unsliced.rs, add_up).
CREATE TABLE tens (
    ten    INTEGER NOT NULL,
    class  INTEGER NOT NULL,
    kind   INTEGER NOT NULL,
    zone   INTEGER NOT NULL,
    events INTEGER NOT NULL,
    PRIMARY KEY (ten, class, kind, zone)
) STRICT, WITHOUT ROWID;

-- With the end: an event that began before the time that is asked about touches it, or does not.
DROP INDEX events_by_time;
CREATE INDEX events_by_time ON events (begin_us, event_id, class, end_us);
DROP INDEX events_by_span;
CREATE INDEX events_by_span ON events (span, begin_us, event_id, class, end_us) WHERE span > 0;
