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
