-- By what somebody sets a password of their own, once: an invitation, or a way in for who forgot theirs. A newer one takes the place of an older one.
CREATE TABLE password_link (
    account_id INTEGER PRIMARY KEY REFERENCES account (id) ON DELETE CASCADE,
    kind TEXT NOT NULL,          -- invitation, reset
    digest TEXT NOT NULL UNIQUE, -- SHA-256 of what the link ends with, which is kept nowhere
    shown_to INTEGER REFERENCES account (id) ON DELETE CASCADE, -- the admin who hands it over; empty: it was mailed
    created_at TEXT NOT NULL,
    expires_at TEXT NOT NULL
);

-- No number is given twice, now that accounts are deleted: events and programs know people by it.
CREATE TABLE account_new (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL COLLATE NOCASE UNIQUE,
    full_name TEXT NOT NULL DEFAULT '',
    email TEXT NOT NULL DEFAULT '',
    password TEXT NOT NULL, -- Argon2id; empty: none yet
    disabled INTEGER NOT NULL DEFAULT 0,
    ssh_keys TEXT NOT NULL DEFAULT '',
    created_at TEXT NOT NULL,
    signed_in_at TEXT,
    org_unit_id INTEGER NOT NULL DEFAULT 1 REFERENCES org_unit (id),
    directory_id TEXT,                        -- what the directory knows it by; NULL for a local account
    dn TEXT NOT NULL DEFAULT '',              -- its place in the directory
    directory_off INTEGER NOT NULL DEFAULT 0, -- disabled because the directory no longer lets it in
    must_change INTEGER NOT NULL DEFAULT 0    -- the password is one that somebody else chose
);
INSERT INTO account_new SELECT id, name, full_name, email, password, disabled, ssh_keys, created_at, signed_in_at, org_unit_id, directory_id, dn,
    directory_off, 0 FROM account;
DROP TABLE account;
ALTER TABLE account_new RENAME TO account;
CREATE INDEX account_unit ON account (org_unit_id);
CREATE UNIQUE INDEX account_directory ON account (directory_id) WHERE directory_id IS NOT NULL;

-- What a mail's link ends with and nobody else may read, sealed.
ALTER TABLE outgoing_mail ADD COLUMN secret TEXT NOT NULL DEFAULT '';

-- How somebody looks at a list, under a name of their own.
CREATE TABLE saved_view (
    id INTEGER PRIMARY KEY,
    account_id INTEGER NOT NULL REFERENCES account (id) ON DELETE CASCADE,
    list TEXT NOT NULL,  -- the endpoint of its page
    name TEXT NOT NULL,
    query TEXT NOT NULL, -- of its address
    UNIQUE (account_id, list, name)
);

-- Leases and requests outlive who had them: forecasts are made of them.
CREATE TABLE lease_new (
    id INTEGER PRIMARY KEY,
    machine_id TEXT NOT NULL REFERENCES machine (id),
    account_id INTEGER REFERENCES account (id) ON DELETE SET NULL, -- empty: of somebody who was deleted
    began_at TEXT NOT NULL,
    ends_at TEXT NOT NULL,
    extensions INTEGER NOT NULL DEFAULT 0,
    warned_at TEXT,
    opened_at TEXT, -- first time its application was opened
    ended_at TEXT,
    end_reason TEXT NOT NULL DEFAULT '',
    busy_at TEXT,        -- the last sign that the machine is used; kept where its class looks for that
    idle_warned_at TEXT,
    kept_until TEXT -- set when it ended while the machine was busy: then ends_at follows the use, up to here
);
INSERT INTO lease_new SELECT id, machine_id, account_id, began_at, ends_at, extensions, warned_at, opened_at, ended_at, end_reason, busy_at, idle_warned_at,
    kept_until FROM lease;
DROP TABLE lease;
ALTER TABLE lease_new RENAME TO lease;
-- One owner at most: the catalog itself refuses a second.
CREATE UNIQUE INDEX lease_live ON lease (machine_id) WHERE ended_at IS NULL;
CREATE INDEX lease_account ON lease (account_id) WHERE ended_at IS NULL;
CREATE INDEX lease_ends ON lease (ends_at) WHERE ended_at IS NULL;

CREATE TABLE request_new (
    id INTEGER PRIMARY KEY,
    account_id INTEGER REFERENCES account (id) ON DELETE SET NULL, -- empty: of somebody who was deleted
    class_name TEXT NOT NULL REFERENCES class (name),
    state TEXT NOT NULL, -- pending, waiting, granted, cancelled, refused
    hit INTEGER,         -- 1 when a ready machine was there at once
    machine_id TEXT REFERENCES machine (id),
    created_at TEXT NOT NULL,
    granted_at TEXT,
    ended_at TEXT,
    trial_id INTEGER REFERENCES sequence_version (id),
    reason TEXT NOT NULL DEFAULT '', -- why it was refused, in words
    batch_id INTEGER REFERENCES request (id), -- the first of them; empty for one alone
    dismissed INTEGER NOT NULL DEFAULT 0 -- who asked has read why it was refused
);
INSERT INTO request_new SELECT id, account_id, class_name, state, hit, machine_id, created_at, granted_at, ended_at, trial_id, reason, batch_id, dismissed
    FROM request;
DROP TABLE request;
ALTER TABLE request_new RENAME TO request;
CREATE INDEX request_waiting ON request (class_name, id) WHERE state = 'waiting';
CREATE INDEX request_account ON request (account_id, state);
CREATE INDEX request_pending ON request (class_name, id) WHERE state = 'pending';
CREATE INDEX request_batch ON request (batch_id) WHERE batch_id IS NOT NULL;
CREATE INDEX request_granted ON request (class_name, granted_at) WHERE granted_at IS NOT NULL;
CREATE INDEX request_created ON request (class_name, created_at) WHERE hit IS NOT NULL;
-- The machine that a trial's request gets goes by what is tried, however it gets it.
CREATE TRIGGER request_trial AFTER UPDATE OF machine_id, trial_id ON request WHEN new.trial_id IS NOT NULL AND new.machine_id IS NOT NULL
BEGIN
    UPDATE machine SET trial_id = new.trial_id WHERE id = new.machine_id;
END;
