-- A person keeps a port of the front door from machine to machine.

ALTER TABLE machine ADD COLUMN door INTEGER NOT NULL DEFAULT 0; -- its port, counted from the first one; unlike its slot it may change
UPDATE machine SET door = slot;
CREATE UNIQUE INDEX machine_door ON machine (door) WHERE state <> 'retired';

CREATE TABLE kept_door (
    account_id INTEGER NOT NULL REFERENCES account (id) ON DELETE CASCADE,
    class_name TEXT NOT NULL REFERENCES class (name),
    door INTEGER NOT NULL,
    used_at TEXT NOT NULL,
    PRIMARY KEY (account_id, class_name, door)
) WITHOUT ROWID;

-- What a browser's own storage, which no machine's page reaches, has beside the session's cookie; empty: signed in without scripts.
ALTER TABLE session ADD COLUMN browser TEXT NOT NULL DEFAULT '';
