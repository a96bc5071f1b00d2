-- People, groups and org units that come from a directory server, and each synchronisation with it.

ALTER TABLE account ADD COLUMN directory_id TEXT;                         -- what the directory knows it by; NULL for a local account
ALTER TABLE account ADD COLUMN dn TEXT NOT NULL DEFAULT '';               -- its place in the directory
ALTER TABLE account ADD COLUMN directory_off INTEGER NOT NULL DEFAULT 0;  -- disabled because the directory no longer lets it in
CREATE UNIQUE INDEX account_directory ON account (directory_id) WHERE directory_id IS NOT NULL;

CREATE TABLE directory_run (
    id INTEGER PRIMARY KEY,
    state TEXT NOT NULL, -- queued, running, done, failed
    asked_by TEXT NOT NULL DEFAULT '', -- empty: it was time
    force INTEGER NOT NULL DEFAULT 0,  -- even when more than half of all people have to go
    step TEXT NOT NULL DEFAULT '',     -- where it stands, in words
    problem TEXT NOT NULL DEFAULT '',  -- why it failed, in words
    hint TEXT NOT NULL DEFAULT '',
    counts TEXT NOT NULL DEFAULT '{}',   -- what was there and what changed, JSON
    problems TEXT NOT NULL DEFAULT '[]', -- what in the directory could not be used, in words, JSON
    created_at TEXT NOT NULL,
    started_at TEXT,
    ended_at TEXT
);
CREATE UNIQUE INDEX directory_run_open ON directory_run (state) WHERE state IN ('queued', 'running');
