-- A machine that requests to its class are sent to; as long as it has a row, HAProxy may know its address.
CREATE TABLE replica (
    machine_id TEXT PRIMARY KEY REFERENCES machine (id),
    class_name TEXT NOT NULL REFERENCES class (name),
    number INTEGER NOT NULL,    -- of HAProxy's server
    state TEXT NOT NULL,        -- serving, draining
    since TEXT NOT NULL,
    deadline TEXT,              -- of draining
    reason TEXT NOT NULL DEFAULT '', -- of draining
    dismissed INTEGER NOT NULL DEFAULT 0, -- it goes, however many are wanted
    up INTEGER NOT NULL DEFAULT 1 -- what checks and traffic said last
);
CREATE UNIQUE INDEX replica_number ON replica (class_name, number);
