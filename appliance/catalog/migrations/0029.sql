-- Public SSH keys of people, one a row: each can be told from the others, and says when it was used last.
CREATE TABLE ssh_key (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    account_id INTEGER NOT NULL REFERENCES account (id) ON DELETE CASCADE,
    key TEXT NOT NULL,              -- type and base64, as in a file like id_ed25519.pub
    label TEXT NOT NULL DEFAULT '', -- what came behind
    created_at TEXT NOT NULL,
    used_at TEXT,                   -- at the appliance's own SSH server, which is all that it sees
    UNIQUE (account_id, key)
);
WITH RECURSIVE
    line (account_id, text, rest) AS (
        SELECT id, '', replace(replace(ssh_keys, char(13), char(10)), char(9), ' ') || char(10) FROM account WHERE ssh_keys <> ''
        UNION ALL
        SELECT account_id, trim(substr(rest, 1, instr(rest, char(10)) - 1)), substr(rest, instr(rest, char(10)) + 1) FROM line WHERE rest <> ''
    ),
    typed (account_id, type, rest) AS (
        SELECT account_id, substr(text, 1, instr(text, ' ') - 1), ltrim(substr(text, instr(text, ' ') + 1)) || ' ' FROM line WHERE instr(text, ' ') > 1
    )
INSERT OR IGNORE INTO ssh_key (account_id, key, label, created_at)
    SELECT account_id, type || ' ' || substr(rest, 1, instr(rest, ' ') - 1), trim(substr(rest, instr(rest, ' '))),
        strftime('%Y-%m-%dT%H:%M:%f', 'now') || '000+00:00'
    FROM typed;
ALTER TABLE account DROP COLUMN ssh_keys;

-- Since when a machine that somebody holds was not told what SSH in it goes by: the owner's keys, its host key's certificate. Empty: it knows.
ALTER TABLE machine ADD COLUMN ssh_changed_at TEXT;
