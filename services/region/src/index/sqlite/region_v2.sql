-- The starts of the index, oldest first: no commit of one is as small as after_seq, none of an earlier one is greater (see
-- lineage.rs).
CREATE TABLE starts (
    number    INTEGER PRIMARY KEY,
    id        INTEGER NOT NULL,
    after_seq INTEGER NOT NULL
) STRICT;
