-- The rule that made an event, and the zone or line it watches, as numbers of names; none for events of objects.
ALTER TABLE events ADD COLUMN rule INTEGER;
ALTER TABLE events ADD COLUMN zone INTEGER;

CREATE INDEX events_by_rule ON events (begin_us, event_id, class, rule, zone) WHERE rule IS NOT NULL;
