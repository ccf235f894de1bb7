-- Counts by zone, too, and plates by any part of them.

-- Zone 0 holds the events that have none.
ALTER TABLE hourly ADD COLUMN zone int4 NOT NULL DEFAULT 0;
ALTER TABLE hourly DROP CONSTRAINT hourly_pkey;
ALTER TABLE hourly ADD PRIMARY KEY (camera, hour, class, kind, zone);

-- Events that have a zone move to it, from where they were counted until now; so do those in the sums over all cameras.
CREATE TEMP TABLE zoned ON COMMIT DROP AS
SELECT counted.camera, date_trunc('hour', begin_time, 'UTC') AS hour, class, kind, zone, count(*) AS events
FROM events CROSS JOIN LATERAL (VALUES (events.camera), (0)) AS counted (camera)
WHERE zone IS NOT NULL AND rule IS NOT NULL
GROUP BY 1, 2, 3, 4, 5;
UPDATE hourly SET events = hourly.events - moved.events
FROM (SELECT camera, hour, class, kind, sum(events)::int8 AS events FROM zoned GROUP BY 1, 2, 3, 4) AS moved
WHERE hourly.camera = moved.camera AND hourly.hour = moved.hour AND hourly.class = moved.class AND hourly.kind = moved.kind;
DELETE FROM hourly WHERE events <= 0;
INSERT INTO hourly (camera, hour, class, kind, zone, events) SELECT camera, hour, class, kind, zone, events FROM zoned;
DROP TABLE zoned;

-- Each plate of a day under its keys (keys.rs, PlateKey). None is taken out when its last event gets another plate: it goes with
-- the day. Not spread over a cluster: it is asked which plates there are before events are looked for.
CREATE TABLE plate_keys (
    kind  int2        NOT NULL,
    key   text        NOT NULL COLLATE "C",
    plate text        NOT NULL COLLATE "C",
    -- Its start.
    day   timestamptz NOT NULL,
    PRIMARY KEY (kind, key, plate, day)
) PARTITION BY RANGE (day);

CREATE TABLE plate_keys_other PARTITION OF plate_keys DEFAULT;

-- The days that are there already.
DO $days$
DECLARE
    digits text;
    start  timestamptz;
BEGIN
    FOR digits IN
        SELECT substr(child.relname, 8) FROM pg_inherits JOIN pg_class AS child ON child.oid = inhrelid
        WHERE inhparent = 'events'::regclass AND child.relname ~ '^events_[0-9]{8}$'
    LOOP
        start := to_date(digits, 'YYYYMMDD')::timestamp AT TIME ZONE 'UTC';
        EXECUTE format('CREATE TABLE plate_keys_%s PARTITION OF plate_keys FOR VALUES FROM (%L) TO (%L)',
                       digits, start, start + interval '24 hours');
    END LOOP;
END
$days$;

CREATE INDEX events_of_plate ON events (plate, begin_time, event_id) WHERE plate IS NOT NULL;
