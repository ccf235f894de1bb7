-- Times are UTC microseconds; ids of events are the sixteen bytes of their UUID.

CREATE TABLE meta (
    name  TEXT PRIMARY KEY,
    value ANY  NOT NULL
) STRICT;

-- Cameras, edges and classes as small numbers, given once, from 1. Kinds of names: see names.rs.
CREATE TABLE names (
    kind   INTEGER NOT NULL,
    number INTEGER NOT NULL,
    name   TEXT    NOT NULL,
    PRIMARY KEY (kind, number),
    UNIQUE (kind, name)
) STRICT, WITHOUT ROWID;

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
    PRIMARY KEY (camera, begin_us, event_id)
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX events_by_commit ON events (commit_seq);
CREATE INDEX events_by_time ON events (begin_us, event_id, class);
CREATE INDEX events_by_span ON events (span, begin_us, event_id, class) WHERE span > 0;
CREATE INDEX events_by_plate ON events (begin_us, event_id, class, plate) WHERE plate IS NOT NULL;

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

-- The smallest rectangle around all places of a camera's events; never shrinks.
CREATE TABLE extents (
    camera INTEGER PRIMARY KEY,
    south  REAL NOT NULL,
    west   REAL NOT NULL,
    north  REAL NOT NULL,
    east   REAL NOT NULL
) STRICT;

CREATE TABLE cameras (
    camera_id    TEXT PRIMARY KEY,
    edge_id      TEXT,
    display_name TEXT    NOT NULL,
    latitude     REAL,
    longitude    REAL,
    address      TEXT    NOT NULL,
    by_operator  INTEGER NOT NULL,
    update_us    INTEGER NOT NULL,
    etag         INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE edges (
    edge_id           TEXT PRIMARY KEY,
    instance          TEXT    NOT NULL,
    software_version  TEXT    NOT NULL,
    last_seen_us      INTEGER NOT NULL,
    complete_until_us INTEGER
) STRICT, WITHOUT ROWID;
