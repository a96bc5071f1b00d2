-- What was answered to a create that came with an idempotency key, for a day: the same key again is answered the same, and nothing is made twice.
CREATE TABLE idempotency_key (
    id INTEGER PRIMARY KEY,
    account_id INTEGER NOT NULL REFERENCES account (id) ON DELETE CASCADE,
    key TEXT NOT NULL,
    request TEXT NOT NULL,
    status INTEGER NOT NULL,
    body TEXT NOT NULL,
    location TEXT NOT NULL DEFAULT '',
    created_at TEXT NOT NULL,
    UNIQUE (account_id, key)
);
CREATE INDEX idempotency_key_created ON idempotency_key (created_at);
