-- The small file of a region: all that is not an event. Times are UTC microseconds.

CREATE TABLE meta (
    name  TEXT PRIMARY KEY,
    value ANY  NOT NULL
) STRICT;

-- Cameras, edges, classes, rules and zones as small numbers, given once, from 1. Kinds of names: see names.rs.
CREATE TABLE names (
    kind   INTEGER NOT NULL,
    number INTEGER NOT NULL,
    name   TEXT    NOT NULL,
    PRIMARY KEY (kind, number),
    UNIQUE (kind, name)
) STRICT, WITHOUT ROWID;

-- Every slice there is. Its number is never given again, and stands in the name of its file.
CREATE TABLE slices (
    number            INTEGER PRIMARY KEY AUTOINCREMENT,
    -- See SliceKind.
    kind              INTEGER NOT NULL,
    from_us           INTEGER NOT NULL,
    until_us          INTEGER NOT NULL,
    -- No commit in it has a greater number; 0 until it is first written.
    seq_bound         INTEGER NOT NULL DEFAULT 0,
    -- Its file is to be removed.
    dropping          INTEGER NOT NULL DEFAULT 0,
    -- Why it cannot be read.
    damage            TEXT,
    -- What it held when it was last closed (slices.rs, Summary); none while it is written.
    events            INTEGER,
    first_begin_us    INTEGER,
    last_begin_us     INTEGER,
    last_end_us       INTEGER,
    first_seq         INTEGER,
    last_seq          INTEGER,
    latest_us         INTEGER,
    newest_receive_us INTEGER
) STRICT;

-- The smallest rectangle around all places of a camera's events; never shrinks.
CREATE TABLE extents (
    camera INTEGER PRIMARY KEY,
    south  REAL NOT NULL,
    west   REAL NOT NULL,
    north  REAL NOT NULL,
    east   REAL NOT NULL
) STRICT;

-- Where the region's clock was set back: the last commit before that, and its receive time. From one step to the next,
-- commits are in the order of their receive times.
CREATE TABLE clock_steps (
    commit_seq INTEGER PRIMARY KEY,
    receive_us INTEGER NOT NULL
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

-- What analysed, as small numbers. Rates are kept in hundredths of a picture a second.
CREATE TABLE analyses (
    number      INTEGER PRIMARY KEY,
    provider    TEXT    NOT NULL,
    model       TEXT    NOT NULL,
    fingerprint TEXT    NOT NULL,
    rate        INTEGER NOT NULL,
    UNIQUE (fingerprint, provider, rate, model)
) STRICT;

-- What was watched, by the minute since 1970; `tally` is a vigil.v1.CoverageTally. The minute comes first: what is written
-- now lies on a few pages, however many cameras there are, and what is too old goes in one piece. Reports of one minute and
-- camera add up; a report that comes twice is one row.
CREATE TABLE coverage (
    minute          INTEGER NOT NULL,
    camera          INTEGER NOT NULL,
    report          BLOB    NOT NULL,
    analysis        INTEGER NOT NULL,
    tally           BLOB    NOT NULL,
    clock_offset_ms INTEGER,
    PRIMARY KEY (minute, camera, report)
) STRICT, WITHOUT ROWID;

-- The same by the hour since 1970, kept in the same transaction.
CREATE TABLE coverage_hourly (
    hour            INTEGER NOT NULL,
    camera          INTEGER NOT NULL,
    analysis        INTEGER NOT NULL,
    tally           BLOB    NOT NULL,
    clock_offset_ms INTEGER,
    PRIMARY KEY (hour, camera, analysis)
) STRICT, WITHOUT ROWID;
