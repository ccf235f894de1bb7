-- Sums over all cameras by ten minutes, too, under camera -1: a count that begins or ends within an hour looks at the events of
-- minutes.
INSERT INTO hourly (camera, hour, class, kind, zone, events)
SELECT -1, date_bin('10 minutes', begin_time, 'epoch'), class, kind, coalesce(zone, 0), count(*)
FROM events GROUP BY 2, 3, 4, 5;
