-- Every move of a machine is a run: its steps are rows, so that a kill at any point loses nothing.

CREATE TABLE sequence (
    name TEXT NOT NULL PRIMARY KEY,
    title TEXT NOT NULL,
    about TEXT NOT NULL DEFAULT '',
    shipped TEXT NOT NULL DEFAULT '' -- digest of the file it came with; empty for one that was made here
) WITHOUT ROWID;

CREATE TABLE sequence_version (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    sequence_name TEXT NOT NULL REFERENCES sequence (name) ON DELETE CASCADE,
    number INTEGER NOT NULL,
    state TEXT NOT NULL, -- draft, trial (a draft as it was when it was tried), promoted, kept
    body TEXT NOT NULL,  -- moves with their activities, JSON; changes only in a draft, which no run refers to
    comment TEXT NOT NULL DEFAULT '',
    author TEXT NOT NULL DEFAULT '',
    created_at TEXT NOT NULL,
    promoted_at TEXT,
    UNIQUE (sequence_name, number)
);
CREATE UNIQUE INDEX sequence_promoted ON sequence_version (sequence_name) WHERE state = 'promoted';
CREATE UNIQUE INDEX sequence_draft ON sequence_version (sequence_name) WHERE state = 'draft';

CREATE TABLE run (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL, -- a move of the master workflow
    state TEXT NOT NULL, -- queued, running, waiting, undoing, done, failed, cancelled
    machine_id TEXT REFERENCES machine (id),
    request_id INTEGER REFERENCES request (id),
    class_name TEXT REFERENCES class (name),
    account_id INTEGER REFERENCES account (id) ON DELETE SET NULL, -- whose machine it is, or will be
    version_id INTEGER REFERENCES sequence_version (id), -- none: only what belongs to the move itself
    position INTEGER NOT NULL DEFAULT 0, -- number of the step it stands at
    priority INTEGER NOT NULL DEFAULT 5, -- smaller goes first
    wake_at TEXT,                        -- goes on then; without it only when it is woken
    woken INTEGER NOT NULL DEFAULT 0,    -- whether something happened since its step began
    cancel INTEGER NOT NULL DEFAULT 0,
    why TEXT NOT NULL DEFAULT '',        -- what it waits for, in words
    problem TEXT NOT NULL DEFAULT '',
    hint TEXT NOT NULL DEFAULT '',
    facts TEXT NOT NULL DEFAULT '{}',    -- what conditions and steps go by, JSON
    asked_by TEXT NOT NULL DEFAULT '',
    created_at TEXT NOT NULL,
    started_at TEXT,
    ended_at TEXT
);
CREATE UNIQUE INDEX run_one ON run (machine_id, kind) WHERE ended_at IS NULL AND machine_id IS NOT NULL;
CREATE INDEX run_live ON run (state, wake_at) WHERE ended_at IS NULL;
CREATE INDEX run_machine ON run (machine_id, id) WHERE machine_id IS NOT NULL;
CREATE INDEX run_request ON run (request_id, id) WHERE request_id IS NOT NULL;
CREATE INDEX run_ended ON run (ended_at) WHERE ended_at IS NOT NULL;

CREATE TABLE step (
    run_id INTEGER NOT NULL REFERENCES run (id) ON DELETE CASCADE,
    number INTEGER NOT NULL,
    name TEXT NOT NULL,
    kind TEXT NOT NULL,
    title TEXT NOT NULL,
    state TEXT NOT NULL, -- running, waiting, done, failed, cancelled, undoing, undone; one that was skipped has no row
    starts INTEGER NOT NULL DEFAULT 0,   -- times it was begun since it last waited
    attempts INTEGER NOT NULL DEFAULT 0, -- times it failed
    output TEXT NOT NULL DEFAULT '{}',   -- JSON
    problem TEXT NOT NULL DEFAULT '',
    hint TEXT NOT NULL DEFAULT '',
    actor TEXT NOT NULL DEFAULT '',      -- who did it; empty: the appliance
    started_at TEXT NOT NULL,
    ended_at TEXT,
    PRIMARY KEY (run_id, number)
) WITHOUT ROWID;

-- What waits for a person: approvals and tasks.
CREATE TABLE todo (
    id INTEGER PRIMARY KEY,
    run_id INTEGER NOT NULL REFERENCES run (id) ON DELETE CASCADE,
    number INTEGER NOT NULL, -- of the step
    kind TEXT NOT NULL,      -- approval, task
    title TEXT NOT NULL,
    text TEXT NOT NULL DEFAULT '',
    state TEXT NOT NULL,     -- open, done, refused, expired, withdrawn
    role TEXT NOT NULL DEFAULT '', -- whoever holds it over the requester's org unit or over the class
    account_id INTEGER REFERENCES account (id) ON DELETE SET NULL, -- or this person
    requester_id INTEGER REFERENCES account (id) ON DELETE SET NULL,
    class_name TEXT REFERENCES class (name),
    created_at TEXT NOT NULL,
    escalates_at TEXT,
    escalated_at TEXT,
    expires_at TEXT,
    decided_at TEXT,
    decided_by TEXT NOT NULL DEFAULT '',
    comment TEXT NOT NULL DEFAULT '',
    UNIQUE (run_id, number)
);
CREATE INDEX todo_open ON todo (id) WHERE state = 'open';

ALTER TABLE class ADD COLUMN sequence TEXT NOT NULL DEFAULT '';  -- the sequence its machines follow; empty: none
ALTER TABLE machine ADD COLUMN trial_id INTEGER REFERENCES sequence_version (id); -- tries this version instead
ALTER TABLE request ADD COLUMN trial_id INTEGER REFERENCES sequence_version (id);
ALTER TABLE request ADD COLUMN reason TEXT NOT NULL DEFAULT ''; -- why it was refused, in words
CREATE INDEX request_pending ON request (class_name, id) WHERE state = 'pending';
