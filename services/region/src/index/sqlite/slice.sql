-- One slice: the events that began within it. Times are UTC microseconds; ids of events are the sixteen bytes of their UUID.
-- Cameras, edges, classes, rules and zones are numbers of the region's names.

CREATE TABLE events (
    camera             INTEGER NOT NULL,
    begin_us           INTEGER NOT NULL,
    event_id           BLOB    NOT NULL,
    row                INTEGER NOT NULL,
    revision           INTEGER NOT NULL,
    commit_seq         INTEGER NOT NULL,
    receive_us         INTEGER NOT NULL,
    end_us             INTEGER NOT NULL,
    span               INTEGER NOT NULL,
    kind               INTEGER NOT NULL,
    class              INTEGER NOT NULL,
    edge               INTEGER NOT NULL,
    confidence         REAL    NOT NULL,
    colours            INTEGER NOT NULL,
    latitude           REAL,
    longitude          REAL,
    plate              TEXT,
    -- The revision that brought the thumbnail; 0 where there is none.
    thumbnail_revision INTEGER NOT NULL,
    -- The rule that made it, and the zone or line that this watches; none for events of objects.
    rule               INTEGER,
    zone               INTEGER,
    PRIMARY KEY (camera, begin_us, event_id)
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX events_by_commit ON events (commit_seq);
CREATE INDEX events_by_time ON events (begin_us, event_id, class);
CREATE INDEX events_by_span ON events (span, begin_us, event_id, class) WHERE span > 0;
CREATE INDEX events_by_plate ON events (begin_us, event_id, class, plate) WHERE plate IS NOT NULL;
CREATE INDEX events_by_rule ON events (begin_us, event_id, class, rule, zone) WHERE rule IS NOT NULL;

CREATE TABLE payloads (
    row   INTEGER PRIMARY KEY,
    event BLOB    NOT NULL
) STRICT;

CREATE TABLE thumbnails (
    row  INTEGER PRIMARY KEY,
    jpeg BLOB    NOT NULL
) STRICT;

-- Events by the hour (since 1970) of their begin. Camera 0 holds the sums over all cameras. The hour comes first: what is
-- counted now lies on a few pages, however many cameras there are.
CREATE TABLE hourly (
    hour   INTEGER NOT NULL,
    camera INTEGER NOT NULL,
    class  INTEGER NOT NULL,
    kind   INTEGER NOT NULL,
    events INTEGER NOT NULL,
    PRIMARY KEY (hour, camera, class, kind)
) STRICT, WITHOUT ROWID;

-- Whose it is, and what it holds as of its last commit (slices.rs, Summary): one row.
CREATE TABLE slice (
    number            INTEGER PRIMARY KEY,
    index_id          TEXT    NOT NULL,
    kind              INTEGER NOT NULL,
    from_us           INTEGER NOT NULL,
    until_us          INTEGER NOT NULL,
    events            INTEGER NOT NULL,
    first_begin_us    INTEGER NOT NULL,
    last_begin_us     INTEGER NOT NULL,
    last_end_us       INTEGER NOT NULL,
    first_seq         INTEGER NOT NULL,
    last_seq          INTEGER NOT NULL,
    latest_us         INTEGER NOT NULL,
    newest_receive_us INTEGER NOT NULL
) STRICT;
