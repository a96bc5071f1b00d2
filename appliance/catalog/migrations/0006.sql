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
-- Runs keep to the version that they began with, whatever is edited meanwhile.
CREATE TRIGGER sequence_version_kept BEFORE UPDATE OF body, sequence_name, number ON sequence_version WHEN old.state <> 'draft'
BEGIN
    SELECT RAISE(ABORT, 'a version of a sequence does not change');
END;

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
    turn INTEGER NOT NULL DEFAULT 0,     -- counts up whenever a step begins: what comes of an earlier beginning is not kept
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
    escalate_role TEXT NOT NULL DEFAULT '', -- asked as well since then
    decided_at TEXT,
    decided_by TEXT NOT NULL DEFAULT '',
    comment TEXT NOT NULL DEFAULT '',
    UNIQUE (run_id, number)
);
CREATE INDEX todo_open ON todo (id) WHERE state = 'open';
CREATE INDEX todo_decided ON todo (decided_at) WHERE decided_at IS NOT NULL;

-- What is to be mailed: written with what it tells of, sent by the engine, and gone once it is.
CREATE TABLE outgoing (
    id INTEGER PRIMARY KEY,
    about TEXT NOT NULL, -- what it tells of: of that, a person gets one
    account_id INTEGER NOT NULL REFERENCES account (id) ON DELETE CASCADE,
    subject TEXT NOT NULL,
    text TEXT NOT NULL,
    path TEXT NOT NULL,  -- the page that it leads to
    tries INTEGER NOT NULL DEFAULT 0,
    created_at TEXT NOT NULL,
    next_at TEXT NOT NULL,
    UNIQUE (about, account_id)
);
CREATE INDEX outgoing_next ON outgoing (next_at);

ALTER TABLE class ADD COLUMN sequence TEXT NOT NULL DEFAULT '';  -- the sequence its machines follow; empty: none
ALTER TABLE machine ADD COLUMN trial_id INTEGER REFERENCES sequence_version (id); -- tries this version instead
ALTER TABLE request ADD COLUMN trial_id INTEGER REFERENCES sequence_version (id);
-- The machine that a trial's request gets goes by what is tried, however it gets it.
CREATE TRIGGER request_trial AFTER UPDATE OF machine_id, trial_id ON request WHEN new.trial_id IS NOT NULL AND new.machine_id IS NOT NULL
BEGIN
    UPDATE machine SET trial_id = new.trial_id WHERE id = new.machine_id;
END;
ALTER TABLE request ADD COLUMN reason TEXT NOT NULL DEFAULT ''; -- why it was refused, in words
CREATE INDEX request_pending ON request (class_name, id) WHERE state = 'pending';

-- Machines that are asked for together, and come together or not at all.
ALTER TABLE request ADD COLUMN batch_id INTEGER REFERENCES request (id); -- the first of them; empty for one alone
CREATE INDEX request_batch ON request (batch_id) WHERE batch_id IS NOT NULL;
ALTER TABLE class ADD COLUMN at_once INTEGER NOT NULL DEFAULT 1;         -- most that one request may be for
ALTER TABLE class ADD COLUMN together_minutes INTEGER NOT NULL DEFAULT 60; -- how long such a request waits before it is refused

-- Machines that nobody uses.
ALTER TABLE class ADD COLUMN idle_minutes INTEGER NOT NULL DEFAULT 0;    -- 0: never idle
ALTER TABLE class ADD COLUMN idle_grace INTEGER NOT NULL DEFAULT 15;     -- minutes from the warning to what follows
ALTER TABLE class ADD COLUMN idle_then TEXT NOT NULL DEFAULT 'reclaim';  -- or suspend
ALTER TABLE class ADD COLUMN connect_minutes INTEGER NOT NULL DEFAULT 0; -- given back when not opened by then; 0: never
ALTER TABLE lease ADD COLUMN busy_at TEXT;        -- the last sign that the machine is used; kept where its class looks for that
ALTER TABLE lease ADD COLUMN idle_warned_at TEXT;
ALTER TABLE request ADD COLUMN dismissed INTEGER NOT NULL DEFAULT 0; -- who asked has read why it was refused
CREATE INDEX run_made ON run (class_name, id);
CREATE INDEX run_account ON run (account_id, id);

-- What outlives a machine.
ALTER TABLE class ADD COLUMN data_disk INTEGER NOT NULL DEFAULT 0; -- GiB of the data disk that each of its machines gets; 0: none

CREATE TABLE data_disk (
    id TEXT NOT NULL PRIMARY KEY, -- a UUID; its file is named after it
    account_id INTEGER REFERENCES account (id) ON DELETE SET NULL,
    class_name TEXT NOT NULL REFERENCES class (name),
    name TEXT NOT NULL,
    size INTEGER NOT NULL, -- GiB
    machine_id TEXT REFERENCES machine (id), -- the machine that has it
    state TEXT NOT NULL, -- new (its file is yet to be made), ready, restoring, troubled, removing
    problem TEXT NOT NULL DEFAULT '',
    backup_asked INTEGER NOT NULL DEFAULT 0, -- somebody wants a copy now
    backup_at TEXT,                          -- the last copy
    backup_problem TEXT NOT NULL DEFAULT '',
    created_at TEXT NOT NULL,
    last_used_at TEXT
) WITHOUT ROWID;
CREATE UNIQUE INDEX data_disk_machine ON data_disk (machine_id) WHERE machine_id IS NOT NULL;
CREATE INDEX data_disk_account ON data_disk (account_id, class_name);
CREATE INDEX data_disk_due ON data_disk (id) WHERE state = 'removing' OR backup_asked = 1;

CREATE TABLE kept_disk (
    id TEXT NOT NULL PRIMARY KEY, -- the id of the machine whose disk it was
    machine_name TEXT NOT NULL,
    account_id INTEGER REFERENCES account (id) ON DELETE SET NULL,
    class_name TEXT NOT NULL REFERENCES class (name),
    seed_id INTEGER NOT NULL REFERENCES seed (id),
    data_id TEXT,            -- the data disk that the machine had
    size INTEGER NOT NULL,   -- GiB
    bytes INTEGER NOT NULL,  -- on the host
    state TEXT NOT NULL,     -- kept, returning, removing
    machine_id TEXT REFERENCES machine (id), -- the machine as which it comes back
    until TEXT NOT NULL,
    created_at TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX kept_disk_account ON kept_disk (account_id);
CREATE INDEX kept_disk_machine ON kept_disk (machine_id) WHERE machine_id IS NOT NULL;

-- What the folder of copies has, as the engine found it there; its manifests alone are the truth.
CREATE TABLE backup (
    path TEXT NOT NULL PRIMARY KEY,
    disk TEXT NOT NULL,
    disk_name TEXT NOT NULL,
    machine_name TEXT NOT NULL,
    class_name TEXT NOT NULL,
    account_name TEXT NOT NULL,
    size INTEGER NOT NULL,  -- GiB
    bytes INTEGER NOT NULL,
    taken_at TEXT NOT NULL,
    problem TEXT NOT NULL DEFAULT ''
) WITHOUT ROWID;
