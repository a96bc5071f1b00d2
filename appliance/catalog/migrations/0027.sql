-- What the rules of a class came to, by the number that they say: how many, when that changed last, and what was told of it.
ALTER TABLE class ADD COLUMN scaling TEXT NOT NULL DEFAULT '{}';

-- What machines of a class that works on jobs are to run, or have run.
CREATE TABLE job (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    class_name TEXT NOT NULL REFERENCES class (name),
    account_id INTEGER REFERENCES account (id) ON DELETE SET NULL, -- who submitted it; empty: somebody who was deleted
    name TEXT NOT NULL,
    number INTEGER NOT NULL,             -- of those that were submitted together, from 1 on
    run TEXT NOT NULL,                   -- the command, a list of words
    files TEXT NOT NULL DEFAULT '{}',    -- text by name, beside which it is run
    seconds INTEGER NOT NULL,            -- that a try may take
    tries INTEGER NOT NULL,              -- at most
    state TEXT NOT NULL,                 -- queued, running, done, dead, cancelled
    attempt INTEGER NOT NULL DEFAULT 0,  -- the last try; none is counted twice
    machine_id TEXT REFERENCES machine (id), -- of the last try
    retry_at TEXT,
    deadline TEXT,                       -- until which its machine is not removed
    status INTEGER,                      -- what it ended with
    output TEXT NOT NULL DEFAULT '',     -- the last of it
    problem TEXT NOT NULL DEFAULT '',
    created_at TEXT NOT NULL,
    started_at TEXT,
    ended_at TEXT
);
-- A machine works on one job at a time.
CREATE UNIQUE INDEX job_machine ON job (machine_id) WHERE state = 'running';
CREATE INDEX job_queue ON job (class_name, id) WHERE state IN ('queued', 'running');
CREATE INDEX job_class ON job (class_name, id);
