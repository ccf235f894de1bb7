-- Where the region's clock was set back: the last commit before that, and its receive time. From one step to the next,
-- commits are in the order of their receive times.
CREATE TABLE clock_steps (
    commit_seq INTEGER PRIMARY KEY,
    receive_us INTEGER NOT NULL
) STRICT;

-- Steps that the events which are there already show.
INSERT INTO clock_steps (commit_seq, receive_us)
SELECT before_seq, before_us
FROM (
    SELECT receive_us, lag(commit_seq) OVER by_commit AS before_seq, lag(receive_us) OVER by_commit AS before_us
    FROM events
    WINDOW by_commit AS (ORDER BY commit_seq)
)
WHERE receive_us < before_us;
