-- Machines that did not take whoever got them, until one does: a person asks in vain only so often, and so does a class.

CREATE TABLE handover (
    class_name TEXT NOT NULL REFERENCES class (name) ON DELETE CASCADE,
    account_id INTEGER NOT NULL REFERENCES account (id) ON DELETE CASCADE,
    failures INTEGER NOT NULL, -- machines of the class that did not take this person, in a row
    in_a_row INTEGER NOT NULL, -- those of them since any machine of the class last took anybody
    problem TEXT NOT NULL,
    hint TEXT NOT NULL,
    failed_at TEXT NOT NULL,
    held_until TEXT NOT NULL,  -- until when the person gets none of the class
    PRIMARY KEY (class_name, account_id)
) WITHOUT ROWID;
