-- Counts by zone, too, and plates by any part of them. What is new is filled from the events (unsliced.rs, add_up).

DROP TABLE hourly;

-- Events by the hour (since 1970) of their begin. Camera 0 holds the sums over all cameras, zone 0 those events that have none.
-- The hour comes first: what is counted now lies on a few pages, however many cameras there are.
CREATE TABLE hourly (
    hour   INTEGER NOT NULL,
    camera INTEGER NOT NULL,
    class  INTEGER NOT NULL,
    kind   INTEGER NOT NULL,
    zone   INTEGER NOT NULL,
    events INTEGER NOT NULL,
    PRIMARY KEY (hour, camera, class, kind, zone)
) STRICT, WITHOUT ROWID;

-- Each plate under its keys (keys.rs, PlateKey). None is taken out when its last event gets another plate: it goes with the slice.
CREATE TABLE plate_keys (
    kind  INTEGER NOT NULL,
    key   TEXT    NOT NULL,
    plate TEXT    NOT NULL,
    PRIMARY KEY (kind, key, plate)
) STRICT, WITHOUT ROWID;

CREATE INDEX events_of_plate ON events (plate, begin_us, event_id, class) WHERE plate IS NOT NULL;
