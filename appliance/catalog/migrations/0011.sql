-- Browsers in which somebody signed in to an account before; what others guess does not keep these out.
CREATE TABLE known_browser (
    account_id INTEGER NOT NULL REFERENCES account (id) ON DELETE CASCADE,
    digest TEXT NOT NULL, -- SHA-256 of what the browser keeps where no page of a machine reaches
    used_at TEXT NOT NULL,
    PRIMARY KEY (account_id, digest)
) WITHOUT ROWID;
