-- What is there and the catalog does not know is set aside; and a catalog says which one it is, and how old.

CREATE TABLE aside (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL,  -- machine, data_disk, kept_disk, seed, snapshot
    id TEXT NOT NULL,    -- of a machine or disk its UUID; of a seed class/version, of a snapshot class/version/folder
    name TEXT NOT NULL DEFAULT '',
    class_name TEXT NOT NULL DEFAULT '',
    account_name TEXT NOT NULL DEFAULT '', -- whose it is, as far as is told
    account_id INTEGER REFERENCES account (id) ON DELETE SET NULL, -- the same here, when that is certain
    source TEXT NOT NULL DEFAULT '', -- what tells so: label, copy, remains
    doubt TEXT NOT NULL DEFAULT '',  -- why it cannot be adopted by itself, in words; empty when all is certain
    slot INTEGER,
    power TEXT NOT NULL DEFAULT '',  -- of a machine: running, paused, off, saved, crashed; empty: it is only files
    base TEXT NOT NULL DEFAULT '',   -- path of the seed's or snapshot's disk that it lies on
    bytes INTEGER NOT NULL DEFAULT 0,
    facts TEXT NOT NULL DEFAULT '{}', -- what else is told of it, JSON
    made_at TEXT,
    found_at TEXT NOT NULL,
    since TEXT,                      -- set aside for good since then; none while an admin has yet to decide
    wish TEXT NOT NULL DEFAULT '',   -- what an admin wants done with it: adopt, remove
    wished_by TEXT NOT NULL DEFAULT '',
    problem TEXT NOT NULL DEFAULT '',
    UNIQUE (kind, id)
);

-- Which catalog this is. The generation grows with each start of the engine.
INSERT INTO option (name, value) VALUES ('lineage', '{"id":"' || lower(hex(randomblob(16))) || '","generation":0}');
