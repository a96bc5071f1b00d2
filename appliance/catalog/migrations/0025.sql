-- What was chosen of a class that leaves something open: a class of its own, made when it is asked for first.
CREATE TABLE recipe (
    class_name TEXT PRIMARY KEY REFERENCES class (name) ON DELETE CASCADE,
    base TEXT NOT NULL REFERENCES class (name), -- the class that leaves it open
    digest TEXT NOT NULL UNIQUE, -- SHA-256 of base and choice
    chosen TEXT NOT NULL,        -- JSON, see appliance.scenario.choice.Chosen
    created_at TEXT NOT NULL,
    used_at TEXT NOT NULL        -- when it was asked for last
);
CREATE INDEX recipe_base ON recipe (base);

-- A choice that somebody keeps, under a name of their own.
CREATE TABLE favourite (
    id INTEGER PRIMARY KEY,
    account_id INTEGER NOT NULL REFERENCES account (id) ON DELETE CASCADE,
    class_name TEXT NOT NULL REFERENCES class (name) ON DELETE CASCADE,
    name TEXT NOT NULL,
    query TEXT NOT NULL, -- of the address of the form that has it
    UNIQUE (account_id, name)
);

-- How long a lease was asked for, where the class leaves that open; empty: as the class has it.
ALTER TABLE request ADD COLUMN lease_minutes INTEGER;
