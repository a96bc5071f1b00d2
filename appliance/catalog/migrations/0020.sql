-- Who is at the screen or a serial line of a machine just now, as dpe-console holds it; it forgets all of them when it starts.
CREATE TABLE console_session (
    id INTEGER PRIMARY KEY,
    machine_id TEXT NOT NULL REFERENCES machine (id) ON DELETE CASCADE,
    account_id INTEGER NOT NULL REFERENCES account (id) ON DELETE CASCADE,
    target TEXT NOT NULL,
    control INTEGER NOT NULL,
    began_at TEXT NOT NULL
);
CREATE INDEX console_session_machine ON console_session (machine_id);
CREATE INDEX console_session_account ON console_session (account_id);
