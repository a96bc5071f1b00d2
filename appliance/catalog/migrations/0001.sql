-- The first catalog. Times are UTC, ISO 8601 with microseconds, so that text order is time order.

CREATE TABLE option (
    name TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL -- JSON
) WITHOUT ROWID;

CREATE TABLE account (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL COLLATE NOCASE UNIQUE,
    full_name TEXT NOT NULL DEFAULT '',
    email TEXT NOT NULL DEFAULT '',
    password TEXT NOT NULL, -- Argon2id
    is_admin INTEGER NOT NULL DEFAULT 0,
    disabled INTEGER NOT NULL DEFAULT 0,
    ssh_keys TEXT NOT NULL DEFAULT '',
    created_at TEXT NOT NULL,
    signed_in_at TEXT
);

CREATE TABLE session (
    id TEXT NOT NULL PRIMARY KEY, -- SHA-256 of the token in the cookie
    account_id INTEGER NOT NULL REFERENCES account (id) ON DELETE CASCADE,
    address TEXT NOT NULL DEFAULT '',
    agent TEXT NOT NULL DEFAULT '',
    created_at TEXT NOT NULL,
    seen_at TEXT NOT NULL,
    expires_at TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX session_account ON session (account_id);

CREATE TABLE throttle (
    name TEXT NOT NULL PRIMARY KEY, -- account:NAME or address:ADDRESS
    failures INTEGER NOT NULL,
    blocked_until TEXT NOT NULL,
    updated_at TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE class (
    name TEXT NOT NULL PRIMARY KEY,
    spec TEXT NOT NULL, -- the class as scenario.yml has it, JSON
    minimum INTEGER NOT NULL,
    maximum INTEGER NOT NULL,
    buffer INTEGER NOT NULL,
    lease_minutes INTEGER NOT NULL,
    extend_minutes INTEGER NOT NULL,
    extensions INTEGER NOT NULL,
    per_person INTEGER NOT NULL,
    enabled INTEGER NOT NULL DEFAULT 1,
    failures INTEGER NOT NULL DEFAULT 0, -- machines of this class that failed to come up, in a row
    failing_until TEXT,                  -- no refill before
    problem TEXT NOT NULL DEFAULT '',    -- why the last one failed
    limit_reason TEXT NOT NULL DEFAULT '', -- what holds the pools below their policy, in words
    updated_at TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE seed (
    id INTEGER PRIMARY KEY,
    class_name TEXT NOT NULL REFERENCES class (name),
    version INTEGER NOT NULL,
    state TEXT NOT NULL, -- queued, building, ready, failed, cancelled
    promoted INTEGER NOT NULL DEFAULT 0,
    cancel INTEGER NOT NULL DEFAULT 0, -- somebody asked to stop the build
    attempts INTEGER NOT NULL DEFAULT 0,
    task TEXT NOT NULL DEFAULT '',
    task_number INTEGER NOT NULL DEFAULT 0,
    task_total INTEGER NOT NULL DEFAULT 0,
    problem TEXT NOT NULL DEFAULT '',
    hint TEXT NOT NULL DEFAULT '',
    log TEXT NOT NULL DEFAULT '',
    files TEXT NOT NULL DEFAULT '{}', -- disk, kernel, initrd, cmdline: JSON
    manifest TEXT NOT NULL DEFAULT '{}', -- JSON
    created_at TEXT NOT NULL,
    started_at TEXT,
    ended_at TEXT,
    UNIQUE (class_name, version)
);
CREATE UNIQUE INDEX seed_promoted ON seed (class_name) WHERE promoted = 1;

CREATE TABLE machine (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE, -- UUID; the domain's as well
    name TEXT NOT NULL UNIQUE,
    class_name TEXT NOT NULL REFERENCES class (name),
    seed_id INTEGER NOT NULL REFERENCES seed (id),
    slot INTEGER NOT NULL, -- address and front door port follow from it
    state TEXT NOT NULL,
    state_since TEXT NOT NULL,
    vcpus INTEGER NOT NULL,
    memory INTEGER NOT NULL, -- MiB
    disk INTEGER NOT NULL,   -- GiB
    owner_id INTEGER REFERENCES account (id),
    step TEXT NOT NULL DEFAULT '',    -- what is being done to it, in words
    problem TEXT NOT NULL DEFAULT '', -- what went wrong last, in words
    attempts INTEGER NOT NULL DEFAULT 0,
    retry_at TEXT,
    reclaim_reason TEXT NOT NULL DEFAULT '',
    created_at TEXT NOT NULL,
    ready_at TEXT,
    retired_at TEXT
);
CREATE UNIQUE INDEX machine_slot ON machine (slot) WHERE state <> 'retired';
CREATE INDEX machine_state ON machine (state, class_name, number) WHERE state <> 'retired';
CREATE INDEX machine_owner ON machine (owner_id) WHERE owner_id IS NOT NULL;
CREATE INDEX machine_class ON machine (class_name, number);

CREATE TABLE lease (
    id INTEGER PRIMARY KEY,
    machine_id TEXT NOT NULL REFERENCES machine (id),
    account_id INTEGER NOT NULL REFERENCES account (id),
    began_at TEXT NOT NULL,
    ends_at TEXT NOT NULL,
    extensions INTEGER NOT NULL DEFAULT 0,
    warned_at TEXT,
    opened_at TEXT, -- first time its application was opened
    ended_at TEXT,
    end_reason TEXT NOT NULL DEFAULT ''
);
-- One owner at most: the catalog itself refuses a second.
CREATE UNIQUE INDEX lease_live ON lease (machine_id) WHERE ended_at IS NULL;
CREATE INDEX lease_account ON lease (account_id) WHERE ended_at IS NULL;
CREATE INDEX lease_ends ON lease (ends_at) WHERE ended_at IS NULL;

CREATE TABLE request (
    id INTEGER PRIMARY KEY,
    account_id INTEGER NOT NULL REFERENCES account (id),
    class_name TEXT NOT NULL REFERENCES class (name),
    state TEXT NOT NULL, -- waiting, granted, cancelled
    hit INTEGER,         -- 1 when a ready machine was there at once
    machine_id TEXT REFERENCES machine (id),
    created_at TEXT NOT NULL,
    granted_at TEXT,
    ended_at TEXT
);
CREATE INDEX request_waiting ON request (class_name, id) WHERE state = 'waiting';
CREATE INDEX request_account ON request (account_id, state);

CREATE TABLE event (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    at TEXT NOT NULL,
    kind TEXT NOT NULL,
    level TEXT NOT NULL DEFAULT 'info', -- info, warning, error
    message TEXT NOT NULL,
    actor TEXT NOT NULL DEFAULT '',
    address TEXT NOT NULL DEFAULT '',
    account_id INTEGER,
    class_name TEXT,
    machine_id TEXT,
    seed_id INTEGER,
    data TEXT NOT NULL DEFAULT '{}' -- JSON
);
CREATE INDEX event_machine ON event (machine_id, id) WHERE machine_id IS NOT NULL;
CREATE INDEX event_kind ON event (kind, id);
CREATE TRIGGER event_append_only_update BEFORE UPDATE ON event BEGIN SELECT RAISE (ABORT, 'events are append-only'); END;
CREATE TRIGGER event_append_only_delete BEFORE DELETE ON event BEGIN SELECT RAISE (ABORT, 'events are append-only'); END;

-- The last reading of each machine, and what the engine last said of itself and its host.
CREATE TABLE reading (
    machine_id TEXT NOT NULL PRIMARY KEY REFERENCES machine (id) ON DELETE CASCADE,
    at TEXT NOT NULL,
    cpu REAL NOT NULL,            -- share of its processors, 0 to 1
    memory_used INTEGER NOT NULL, -- MiB
    disk_rate REAL NOT NULL,      -- bytes a second, both ways
    net_rate REAL NOT NULL        -- bytes a second, both ways
) WITHOUT ROWID;

CREATE TABLE engine (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    seen_at TEXT NOT NULL,
    hypervisor_ok INTEGER NOT NULL,
    hypervisor_problem TEXT NOT NULL,
    host TEXT NOT NULL -- JSON
);
