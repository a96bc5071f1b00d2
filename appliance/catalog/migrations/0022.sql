-- Webhooks: who is told of which events. The events are the outbox themselves: `position` is the last one that was looked at, and what there is
-- to be sent of those up to it stands in webhook_delivery. Both move in one transaction.
CREATE TABLE webhook (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL COLLATE NOCASE UNIQUE,
    url TEXT NOT NULL, -- may hold what lets in
    kinds TEXT NOT NULL DEFAULT '[]',   -- areas and kinds of event, JSON; none: all
    classes TEXT NOT NULL DEFAULT '[]', -- names, JSON; none: all, and what is of no class
    enabled INTEGER NOT NULL DEFAULT 1,
    secret TEXT NOT NULL, -- sealed
    rotated_at TEXT NOT NULL, -- when the secret was made
    secret_before TEXT NOT NULL DEFAULT '', -- sealed; good until the time below
    before_until TEXT,
    position INTEGER NOT NULL,
    failures INTEGER NOT NULL DEFAULT 0, -- tries that failed, in a row
    failing_since TEXT,
    retry_at TEXT,
    created_at TEXT NOT NULL
);

CREATE TABLE webhook_delivery (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    webhook_id INTEGER NOT NULL REFERENCES webhook (id) ON DELETE CASCADE,
    event_id INTEGER NOT NULL REFERENCES event (id),
    state TEXT NOT NULL, -- pending, delivered, dead
    tries INTEGER NOT NULL DEFAULT 0,
    answer TEXT NOT NULL DEFAULT '', -- to the last try, or why there was none
    created_at TEXT NOT NULL,
    next_at TEXT NOT NULL,
    tried_at TEXT,
    UNIQUE (webhook_id, event_id)
);
CREATE INDEX webhook_delivery_state ON webhook_delivery (webhook_id, state, next_at);

-- What the engine counts of itself since it was started, for monitoring, JSON.
ALTER TABLE engine ADD COLUMN internals TEXT NOT NULL DEFAULT '{}';
