-- Machines are forked from a snapshot of their seed, wait in the buffer running, paused or cold, and memory is told as it is.

CREATE TABLE snapshot (
    id INTEGER PRIMARY KEY,
    seed_id INTEGER NOT NULL REFERENCES seed (id),
    state TEXT NOT NULL, -- building, ready, failed, stale (no longer fits its host, or damaged: forks no more machines)
    attempts INTEGER NOT NULL DEFAULT 0,
    retry_at TEXT,
    step TEXT NOT NULL DEFAULT '',    -- where the taking of it stands, in words
    problem TEXT NOT NULL DEFAULT '', -- why it failed or is stale, in words
    hint TEXT NOT NULL DEFAULT '',
    folder TEXT NOT NULL DEFAULT '',
    facts TEXT NOT NULL DEFAULT '{}', -- what it depends on and how large it is, JSON
    created_at TEXT NOT NULL,
    ended_at TEXT
);
-- One at most to fork from; others are kept only while machines live on them.
CREATE UNIQUE INDEX snapshot_current ON snapshot (seed_id) WHERE state <> 'stale';

ALTER TABLE class ADD COLUMN fork INTEGER NOT NULL DEFAULT 1;           -- whether machines are forked at all
ALTER TABLE class ADD COLUMN readiness TEXT NOT NULL DEFAULT 'paused';  -- how machines wait in the buffer: running, paused, cold
ALTER TABLE class ADD COLUMN forked INTEGER NOT NULL DEFAULT 0;         -- forks that came up, in all
ALTER TABLE class ADD COLUMN fork_failed INTEGER NOT NULL DEFAULT 0;    -- forks that did not, in all
ALTER TABLE class ADD COLUMN fork_failures INTEGER NOT NULL DEFAULT 0;  -- forks that did not, in a row
ALTER TABLE class ADD COLUMN fork_problem TEXT NOT NULL DEFAULT '';     -- why the last one did not
ALTER TABLE class ADD COLUMN short_of_memory INTEGER NOT NULL DEFAULT 0; -- whether memory is why there are not more of its machines

ALTER TABLE machine ADD COLUMN origin TEXT NOT NULL DEFAULT 'boot';        -- how it was made: fork, boot
ALTER TABLE machine ADD COLUMN readiness TEXT NOT NULL DEFAULT 'running';  -- how it waits in the buffer: running, paused, cold
ALTER TABLE machine ADD COLUMN snapshot_id INTEGER REFERENCES snapshot (id);
-- One that is not partial, as SQLite does not see that state = 'ready' implies state <> 'retired'.
DROP INDEX machine_state;
CREATE INDEX machine_state ON machine (state, class_name, number);
CREATE INDEX machine_alive ON machine (number) WHERE state <> 'retired';
CREATE INDEX machine_class_alive ON machine (class_name, number) WHERE state <> 'retired';
CREATE INDEX event_area ON event (substr(kind, 1, instr(kind, '.') - 1), id); -- machine, lease, seed ...
CREATE INDEX event_trouble ON event (id) WHERE level <> 'info';
DROP INDEX event_kind;
-- All that the engine asks of every machine at every tick, without the machines that were.
CREATE INDEX machine_live ON machine (state, class_name, readiness, origin, memory, vcpus, seed_id, id) WHERE state <> 'retired';

ALTER TABLE reading ADD COLUMN memory_private INTEGER NOT NULL DEFAULT 0; -- MiB of the host that are its alone
ALTER TABLE reading ADD COLUMN memory_shared INTEGER NOT NULL DEFAULT 0;  -- MiB: its part of what it shares with others

-- The host over time, for its page; MiB.
CREATE TABLE host_reading (
    at TEXT NOT NULL PRIMARY KEY,
    cpu REAL NOT NULL,                -- share of its processors, 0 to 1
    memory INTEGER NOT NULL,
    memory_available INTEGER NOT NULL,
    machines_private INTEGER NOT NULL, -- of all machines together
    machines_shared INTEGER NOT NULL,
    machines_nominal INTEGER NOT NULL, -- what running and paused machines may grow to
    machines_limit INTEGER NOT NULL    -- how much of that people might hold at most
) WITHOUT ROWID;
