-- The scenario: what machines are, as it is and as it was. The folder that it came from is only where it begins.

CREATE TABLE scenario_file (
    digest TEXT NOT NULL PRIMARY KEY, -- SHA-256 of the content
    content BLOB NOT NULL
) WITHOUT ROWID;

CREATE TABLE scenario_version (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    number INTEGER NOT NULL, -- 0 for what is no version yet
    state TEXT NOT NULL,     -- current, kept, offered (a newer one, by the folder), imported (by somebody; not in use yet)
    tree TEXT NOT NULL,      -- path -> digest of the file, and whether it can be run; JSON
    digest TEXT NOT NULL,    -- of the tree
    base TEXT NOT NULL,      -- the tree that the folder had when it was last taken or left, JSON
    changes TEXT NOT NULL DEFAULT '', -- against the version before, in a line
    comment TEXT NOT NULL DEFAULT '',
    author TEXT NOT NULL DEFAULT '',  -- empty: the appliance
    created_at TEXT NOT NULL
);
CREATE UNIQUE INDEX scenario_number ON scenario_version (number) WHERE number > 0;
CREATE UNIQUE INDEX scenario_one ON scenario_version (state) WHERE state <> 'kept';
CREATE TRIGGER scenario_version_kept BEFORE UPDATE OF tree, digest, base, number, author, created_at ON scenario_version
BEGIN
    SELECT RAISE(ABORT, 'a version of the scenario does not change');
END;
