-- Every unique key holds the camera, by which Citus distributes, and the time, by which days are cut. There are no foreign
-- keys, sequences or triggers: the region is the only writer, and gives all numbers itself.

-- One row: what the index says of itself.
CREATE TABLE index_state (
    region_id      text        NOT NULL,
    index_id       uuid        NOT NULL,
    commit_seq     int8        NOT NULL DEFAULT 0,
    -- The region's clock at the last commit.
    commit_time    timestamptz,
    events         int8        NOT NULL DEFAULT 0,
    -- The last commit that retention removed, and when it was received.
    purged_through int8        NOT NULL DEFAULT 0,
    purged_time    timestamptz,
    camera_etag    int8        NOT NULL DEFAULT 0
) WITH (fillfactor = 20);

-- Cameras, edges, classes, rules and zones as small numbers, given once, from 1. Kinds of names: see names.rs.
CREATE TABLE names (
    kind   int2 NOT NULL,
    number int4 NOT NULL,
    name   text NOT NULL COLLATE "C",
    PRIMARY KEY (kind, number),
    UNIQUE (kind, name)
);

CREATE TABLE events (
    camera             int4        NOT NULL,
    begin_time         timestamptz NOT NULL,
    event_id           uuid        NOT NULL,
    revision           int8        NOT NULL,
    commit_seq         int8        NOT NULL,
    receive_time       timestamptz NOT NULL,
    end_time           timestamptz NOT NULL,
    -- Its length, in powers of four of a minute.
    span               int2        NOT NULL,
    kind               int2        NOT NULL,
    class              int4        NOT NULL,
    edge               int4        NOT NULL,
    confidence         float4      NOT NULL,
    colours            int4        NOT NULL,
    latitude           float8,
    longitude          float8,
    plate              text,
    -- The revision that brought the thumbnail; 0 where there is none.
    thumbnail_revision int8        NOT NULL,
    rule               int4,
    zone               int4,
    -- A vigil.v1.Event without receive time and thumbnail key.
    event              bytea       NOT NULL,
    jpeg               bytea,
    PRIMARY KEY (camera, begin_time, event_id)
) PARTITION BY RANGE (begin_time);

-- A JPEG is compressed already.
ALTER TABLE events ALTER COLUMN jpeg SET STORAGE EXTERNAL;

CREATE INDEX events_by_time ON events (begin_time, event_id);
CREATE INDEX events_by_commit ON events (commit_seq);
CREATE INDEX events_by_span ON events (span, begin_time, event_id) WHERE span > 0;
CREATE INDEX events_by_plate ON events (begin_time, event_id) WHERE plate IS NOT NULL;
CREATE INDEX events_by_rule ON events (begin_time, event_id) WHERE rule IS NOT NULL;

-- Events that begin on a day without a partition: cameras whose clock is years off.
CREATE TABLE events_other PARTITION OF events DEFAULT;

-- Events by the hour of their begin. Camera 0 holds the sums over all cameras. Counters are updated in place: room for that
-- is left on each page.
CREATE TABLE hourly (
    camera int4        NOT NULL,
    hour   timestamptz NOT NULL,
    class  int4        NOT NULL,
    kind   int2        NOT NULL,
    events int8        NOT NULL,
    PRIMARY KEY (camera, hour, class, kind)
) PARTITION BY RANGE (hour);

CREATE TABLE hourly_other PARTITION OF hourly DEFAULT;

-- The smallest rectangle around all places of a camera's events, WGS 84 degrees; never shrinks.
CREATE TABLE extents (
    camera int4   PRIMARY KEY,
    south  float8 NOT NULL,
    west   float8 NOT NULL,
    north  float8 NOT NULL,
    east   float8 NOT NULL
);

-- Where the region's clock was set back: the last commit before that, and its receive time.
CREATE TABLE clock_steps (
    commit_seq   int8        PRIMARY KEY,
    receive_time timestamptz NOT NULL
);

CREATE TABLE cameras (
    camera_id    text        PRIMARY KEY COLLATE "C",
    edge_id      text,
    display_name text        NOT NULL,
    latitude     float8,
    longitude    float8,
    address      text        NOT NULL,
    by_operator  bool        NOT NULL,
    update_time  timestamptz NOT NULL,
    etag         int8        NOT NULL
);

CREATE TABLE edges (
    edge_id          text        PRIMARY KEY COLLATE "C",
    instance         text        NOT NULL,
    software_version text        NOT NULL,
    last_seen        timestamptz NOT NULL,
    complete_until   timestamptz
);

-- What analysed, as small numbers. Rates are kept in hundredths of a picture a second.
CREATE TABLE analyses (
    number      int4 PRIMARY KEY,
    provider    text NOT NULL,
    model       text NOT NULL,
    fingerprint text NOT NULL,
    rate        int4 NOT NULL,
    UNIQUE (fingerprint, provider, rate, model)
);

-- What was watched, by the minute since 1970; `tally` is a vigil.v1.CoverageTally.
CREATE TABLE coverage (
    minute          int8  NOT NULL,
    camera          int4  NOT NULL,
    report          uuid  NOT NULL,
    analysis        int4  NOT NULL,
    tally           bytea NOT NULL,
    clock_offset_ms int8,
    PRIMARY KEY (minute, camera, report)
);

-- The same by the hour since 1970, kept in the same transaction.
CREATE TABLE coverage_hourly (
    hour            int8  NOT NULL,
    camera          int4  NOT NULL,
    analysis        int4  NOT NULL,
    tally           bytea NOT NULL,
    clock_offset_ms int8,
    PRIMARY KEY (hour, camera, analysis)
);
