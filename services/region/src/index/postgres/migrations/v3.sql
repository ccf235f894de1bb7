-- The starts of the index, oldest first: no commit of one is as small as after_seq, none of an earlier one is greater (see
-- lineage.rs). Only the writer touches it.
CREATE TABLE starts (
    number    int8 PRIMARY KEY,
    id        int8 NOT NULL,
    after_seq int8 NOT NULL
);
