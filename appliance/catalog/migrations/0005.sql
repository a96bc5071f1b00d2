-- One-time codes, tokens for programs, sessions that ask again before what is dangerous, and a record whose lines are chained.

ALTER TABLE session ADD COLUMN confirmed_at TEXT;                 -- last time the password, or a code, was given
ALTER TABLE session ADD COLUMN waits INTEGER NOT NULL DEFAULT 0;  -- the password was right, the code is still to come

CREATE TABLE second_factor (
    account_id INTEGER PRIMARY KEY REFERENCES account (id) ON DELETE CASCADE,
    secret TEXT NOT NULL,             -- base32
    step INTEGER NOT NULL DEFAULT 0,  -- the time step of the last code that was taken: none is taken twice
    confirmed_at TEXT                 -- since when it is asked for; until then it is only being set up
);

CREATE TABLE recovery_code (
    account_id INTEGER NOT NULL REFERENCES account (id) ON DELETE CASCADE,
    digest TEXT NOT NULL, -- SHA-256
    PRIMARY KEY (account_id, digest)
) WITHOUT ROWID;

CREATE TABLE token (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    account_id INTEGER NOT NULL REFERENCES account (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    digest TEXT NOT NULL UNIQUE, -- SHA-256 of the token
    ending TEXT NOT NULL,        -- its last letters, to tell it from others
    scope TEXT NOT NULL,         -- the permissions it is good for, JSON
    created_at TEXT NOT NULL,
    expires_at TEXT NOT NULL,
    used_at TEXT,
    address TEXT NOT NULL DEFAULT '' -- from where it was used last
);
CREATE INDEX token_account ON token (account_id);

ALTER TABLE event ADD COLUMN object TEXT NOT NULL DEFAULT ''; -- what it happened to, like account:ada
ALTER TABLE event ADD COLUMN hash TEXT NOT NULL DEFAULT '';   -- over this line and the hash before; see catalog/README.md
CREATE INDEX event_object ON event (object, id) WHERE object <> '';
-- The kind's first word: machine, lease, sign ...
DROP INDEX event_area;
CREATE INDEX event_area ON event (substr(kind, 1, instr(replace(kind, '_', '.') || '.', '.') - 1), id);
CREATE INDEX event_actor ON event (actor, id);
