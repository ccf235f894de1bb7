-- Counts that begin or end within an hour look at few events.

-- Sums over all cameras by ten minutes, too, under camera -1.
INSERT INTO hourly (camera, hour, class, kind, zone, events)
SELECT -1, date_bin('10 minutes', begin_time, 'epoch'), class, kind, coalesce(zone, 0), count(*)
FROM events GROUP BY 2, 3, 4, 5;

-- With all that a count asks of a long event that began before its time.
DROP INDEX events_by_span;
CREATE INDEX events_by_span ON events (span, begin_time, event_id, end_time) INCLUDE (camera, class, kind, zone)
WHERE span > 0;
