-- Control, parsed out: org units, groups, grants and quotas. What made an admin becomes the role owner over the appliance.

CREATE TABLE org_unit (
    id INTEGER PRIMARY KEY,
    parent_id INTEGER REFERENCES org_unit (id), -- NULL for the one at the top
    name TEXT NOT NULL COLLATE NOCASE,
    directory_id TEXT UNIQUE,                   -- what the directory knows it by; NULL for a local one
    CHECK ((parent_id IS NULL) = (id = 1)),
    UNIQUE (parent_id, name)
);
INSERT INTO org_unit (id, parent_id, name) VALUES (1, NULL, 'Everybody');

ALTER TABLE account ADD COLUMN org_unit_id INTEGER NOT NULL DEFAULT 1 REFERENCES org_unit (id);
CREATE INDEX account_unit ON account (org_unit_id);

CREATE TABLE people_group ( -- "group" is a word of SQL's own
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL COLLATE NOCASE UNIQUE,
    about TEXT NOT NULL DEFAULT '',
    org_unit_id INTEGER NOT NULL DEFAULT 1 REFERENCES org_unit (id), -- whoever looks after the unit looks after the group
    directory_id TEXT UNIQUE
);
CREATE INDEX people_group_unit ON people_group (org_unit_id);

CREATE TABLE member (
    group_id INTEGER NOT NULL REFERENCES people_group (id) ON DELETE CASCADE,
    account_id INTEGER NOT NULL REFERENCES account (id) ON DELETE CASCADE,
    PRIMARY KEY (account_id, group_id)
) WITHOUT ROWID;
CREATE INDEX member_group ON member (group_id, account_id);

CREATE TABLE nesting ( -- the members of the inner group are members of the outer one
    outer_id INTEGER NOT NULL REFERENCES people_group (id) ON DELETE CASCADE,
    inner_id INTEGER NOT NULL REFERENCES people_group (id) ON DELETE CASCADE,
    PRIMARY KEY (inner_id, outer_id),
    CHECK (inner_id <> outer_id)
) WITHOUT ROWID;
CREATE INDEX nesting_outer ON nesting (outer_id, inner_id);

CREATE TABLE permit ( -- a grant; that is a word of SQL's own as well
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    role TEXT NOT NULL,
    -- who holds it: one of these
    account_id INTEGER REFERENCES account (id) ON DELETE CASCADE,
    group_id INTEGER REFERENCES people_group (id) ON DELETE CASCADE,
    org_unit_id INTEGER REFERENCES org_unit (id) ON DELETE CASCADE,
    -- over what: an org unit and all below it, or a class; neither means the appliance
    over_unit_id INTEGER REFERENCES org_unit (id) ON DELETE CASCADE,
    over_class TEXT REFERENCES class (name),
    starts_at TEXT,
    ends_at TEXT,
    given_by INTEGER REFERENCES account (id) ON DELETE SET NULL,
    created_at TEXT NOT NULL,
    CHECK ((account_id IS NOT NULL) + (group_id IS NOT NULL) + (org_unit_id IS NOT NULL) = 1),
    CHECK (over_unit_id IS NULL OR over_class IS NULL)
);
CREATE INDEX permit_account ON permit (account_id) WHERE account_id IS NOT NULL;
CREATE INDEX permit_group ON permit (group_id) WHERE group_id IS NOT NULL;
CREATE INDEX permit_org_unit ON permit (org_unit_id) WHERE org_unit_id IS NOT NULL;
CREATE INDEX permit_over_unit ON permit (over_unit_id) WHERE over_unit_id IS NOT NULL;

CREATE TABLE quota (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    -- whose: one of these
    account_id INTEGER REFERENCES account (id) ON DELETE CASCADE,
    group_id INTEGER REFERENCES people_group (id) ON DELETE CASCADE,
    org_unit_id INTEGER REFERENCES org_unit (id) ON DELETE CASCADE,
    each INTEGER NOT NULL,                      -- whether every person may have so much, or all of them together
    class_name TEXT REFERENCES class (name),    -- of this class only; NULL: of all classes together
    permit_id INTEGER REFERENCES permit (id) ON DELETE CASCADE, -- given together with a grant; lasts as long
    -- NULL means that it is not limited
    machines INTEGER,
    vcpus INTEGER,
    memory INTEGER,                             -- MiB
    disk INTEGER,                               -- GiB
    lease_minutes INTEGER,
    CHECK ((account_id IS NOT NULL) + (group_id IS NOT NULL) + (org_unit_id IS NOT NULL) = 1)
);
CREATE INDEX quota_account ON quota (account_id) WHERE account_id IS NOT NULL;
CREATE INDEX quota_group ON quota (group_id) WHERE group_id IS NOT NULL;
CREATE INDEX quota_org_unit ON quota (org_unit_id) WHERE org_unit_id IS NOT NULL;
CREATE INDEX quota_permit ON quota (permit_id) WHERE permit_id IS NOT NULL;

-- As it was until now: everybody may ask for machines, and admins may do everything.
INSERT INTO permit (role, org_unit_id, created_at) VALUES ('user', 1, strftime('%Y-%m-%dT%H:%M:%f000+00:00', 'now'));
INSERT INTO permit (role, account_id, created_at) SELECT 'owner', id, strftime('%Y-%m-%dT%H:%M:%f000+00:00', 'now') FROM account WHERE is_admin;
ALTER TABLE account DROP COLUMN is_admin;
