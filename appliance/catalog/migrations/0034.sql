-- The words that things are found by: of each line (a name, a full name, an address, a title) all that it ends with, from each of its letters, so that
-- what has a text in it is found as a range of this table. `tier` is 1 for a whole line, 2 from the beginning of a word, 3 from within one. Triggers keep
-- it true, in the transaction that changes a name; what it has to hold is said once, by the view name_suffixes.
CREATE TABLE name_suffix (
    kind TEXT NOT NULL,                    -- as in catalog.search: machine, account, group, unit, class, seed
    tier INTEGER NOT NULL,
    suffix TEXT NOT NULL COLLATE NOCASE,   -- its first 20 characters
    thing NOT NULL,                        -- a machine's number, a class's name, an id
    PRIMARY KEY (kind, tier, suffix, thing)
) WITHOUT ROWID;
CREATE TABLE position (n INTEGER PRIMARY KEY); -- of a character in a line: further ones are not looked for
WITH RECURSIVE up (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM up WHERE n < 1000) INSERT INTO position SELECT n FROM up;

CREATE VIEW name_line (kind, thing, line) AS
    SELECT 'machine', number, name FROM machine WHERE state <> 'retired'
    UNION ALL SELECT 'account', id, name FROM account
    UNION ALL SELECT 'account', id, full_name FROM account
    UNION ALL SELECT 'account', id, email FROM account
    UNION ALL SELECT 'group', id, name FROM people_group
    UNION ALL SELECT 'group', id, about FROM people_group
    UNION ALL SELECT 'unit', id, name FROM org_unit
    UNION ALL SELECT 'class', name, name FROM class
    UNION ALL SELECT 'class', name, coalesce(json_extract(spec, '$.title'), '') FROM class
    UNION ALL SELECT 'seed', id, class_name || ' v' || version FROM seed;
-- A letter beyond ASCII is one within a word. What begins with a blank is not looked for.
CREATE VIEW name_suffixes (kind, tier, suffix, thing) AS
    SELECT kind, CASE WHEN n = 1 THEN 1 WHEN unicode(substr(line, n - 1, 1)) < 128 AND substr(line, n - 1, 1) NOT GLOB '[a-zA-Z0-9]' THEN 2 ELSE 3 END,
        substr(line, n, 20), thing
    FROM name_line CROSS JOIN position ON n <= length(line) WHERE substr(line, n, 1) <> ' ';
INSERT OR IGNORE INTO name_suffix SELECT kind, tier, suffix, thing FROM name_suffixes;

CREATE TRIGGER machine_named AFTER INSERT ON machine
BEGIN
    INSERT OR IGNORE INTO name_suffix SELECT kind, tier, suffix, thing FROM name_suffixes WHERE kind = 'machine' AND thing = new.number;
END;
CREATE TRIGGER machine_renaming BEFORE UPDATE OF name, state ON machine WHEN new.name <> old.name OR (new.state = 'retired') <> (old.state = 'retired')
BEGIN
    DELETE FROM name_suffix WHERE kind = 'machine' AND thing = old.number AND tier IN (1, 2, 3)
        AND suffix IN (SELECT suffix FROM name_suffixes WHERE kind = 'machine' AND thing = old.number);
END;
CREATE TRIGGER machine_renamed AFTER UPDATE OF name, state ON machine WHEN new.name <> old.name OR (new.state = 'retired') <> (old.state = 'retired')
BEGIN
    INSERT OR IGNORE INTO name_suffix SELECT kind, tier, suffix, thing FROM name_suffixes WHERE kind = 'machine' AND thing = new.number;
END;
CREATE TRIGGER machine_unnamed BEFORE DELETE ON machine
BEGIN
    DELETE FROM name_suffix WHERE kind = 'machine' AND thing = old.number AND tier IN (1, 2, 3)
        AND suffix IN (SELECT suffix FROM name_suffixes WHERE kind = 'machine' AND thing = old.number);
END;
CREATE TRIGGER account_named AFTER INSERT ON account
BEGIN
    INSERT OR IGNORE INTO name_suffix SELECT kind, tier, suffix, thing FROM name_suffixes WHERE kind = 'account' AND thing = new.id;
END;
CREATE TRIGGER account_renaming BEFORE UPDATE OF name, full_name, email ON account WHEN new.name <> old.name OR new.full_name <> old.full_name OR new.email <> old.email
BEGIN
    DELETE FROM name_suffix WHERE kind = 'account' AND thing = old.id AND tier IN (1, 2, 3)
        AND suffix IN (SELECT suffix FROM name_suffixes WHERE kind = 'account' AND thing = old.id);
END;
CREATE TRIGGER account_renamed AFTER UPDATE OF name, full_name, email ON account WHEN new.name <> old.name OR new.full_name <> old.full_name OR new.email <> old.email
BEGIN
    INSERT OR IGNORE INTO name_suffix SELECT kind, tier, suffix, thing FROM name_suffixes WHERE kind = 'account' AND thing = new.id;
END;
CREATE TRIGGER account_unnamed BEFORE DELETE ON account
BEGIN
    DELETE FROM name_suffix WHERE kind = 'account' AND thing = old.id AND tier IN (1, 2, 3)
        AND suffix IN (SELECT suffix FROM name_suffixes WHERE kind = 'account' AND thing = old.id);
END;
CREATE TRIGGER people_group_named AFTER INSERT ON people_group
BEGIN
    INSERT OR IGNORE INTO name_suffix SELECT kind, tier, suffix, thing FROM name_suffixes WHERE kind = 'group' AND thing = new.id;
END;
CREATE TRIGGER people_group_renaming BEFORE UPDATE OF name, about ON people_group WHEN new.name <> old.name OR new.about <> old.about
BEGIN
    DELETE FROM name_suffix WHERE kind = 'group' AND thing = old.id AND tier IN (1, 2, 3)
        AND suffix IN (SELECT suffix FROM name_suffixes WHERE kind = 'group' AND thing = old.id);
END;
CREATE TRIGGER people_group_renamed AFTER UPDATE OF name, about ON people_group WHEN new.name <> old.name OR new.about <> old.about
BEGIN
    INSERT OR IGNORE INTO name_suffix SELECT kind, tier, suffix, thing FROM name_suffixes WHERE kind = 'group' AND thing = new.id;
END;
CREATE TRIGGER people_group_unnamed BEFORE DELETE ON people_group
BEGIN
    DELETE FROM name_suffix WHERE kind = 'group' AND thing = old.id AND tier IN (1, 2, 3)
        AND suffix IN (SELECT suffix FROM name_suffixes WHERE kind = 'group' AND thing = old.id);
END;
CREATE TRIGGER org_unit_named AFTER INSERT ON org_unit
BEGIN
    INSERT OR IGNORE INTO name_suffix SELECT kind, tier, suffix, thing FROM name_suffixes WHERE kind = 'unit' AND thing = new.id;
END;
CREATE TRIGGER org_unit_renaming BEFORE UPDATE OF name ON org_unit WHEN new.name <> old.name
BEGIN
    DELETE FROM name_suffix WHERE kind = 'unit' AND thing = old.id AND tier IN (1, 2, 3)
        AND suffix IN (SELECT suffix FROM name_suffixes WHERE kind = 'unit' AND thing = old.id);
END;
CREATE TRIGGER org_unit_renamed AFTER UPDATE OF name ON org_unit WHEN new.name <> old.name
BEGIN
    INSERT OR IGNORE INTO name_suffix SELECT kind, tier, suffix, thing FROM name_suffixes WHERE kind = 'unit' AND thing = new.id;
END;
CREATE TRIGGER org_unit_unnamed BEFORE DELETE ON org_unit
BEGIN
    DELETE FROM name_suffix WHERE kind = 'unit' AND thing = old.id AND tier IN (1, 2, 3)
        AND suffix IN (SELECT suffix FROM name_suffixes WHERE kind = 'unit' AND thing = old.id);
END;
CREATE TRIGGER class_named AFTER INSERT ON class
BEGIN
    INSERT OR IGNORE INTO name_suffix SELECT kind, tier, suffix, thing FROM name_suffixes WHERE kind = 'class' AND thing = new.name;
END;
CREATE TRIGGER class_renaming BEFORE UPDATE OF name, spec ON class WHEN new.name <> old.name OR json_extract(new.spec, '$.title') IS NOT json_extract(old.spec, '$.title')
BEGIN
    DELETE FROM name_suffix WHERE kind = 'class' AND thing = old.name AND tier IN (1, 2, 3)
        AND suffix IN (SELECT suffix FROM name_suffixes WHERE kind = 'class' AND thing = old.name);
END;
CREATE TRIGGER class_renamed AFTER UPDATE OF name, spec ON class WHEN new.name <> old.name OR json_extract(new.spec, '$.title') IS NOT json_extract(old.spec, '$.title')
BEGIN
    INSERT OR IGNORE INTO name_suffix SELECT kind, tier, suffix, thing FROM name_suffixes WHERE kind = 'class' AND thing = new.name;
END;
CREATE TRIGGER class_unnamed BEFORE DELETE ON class
BEGIN
    DELETE FROM name_suffix WHERE kind = 'class' AND thing = old.name AND tier IN (1, 2, 3)
        AND suffix IN (SELECT suffix FROM name_suffixes WHERE kind = 'class' AND thing = old.name);
END;
CREATE TRIGGER seed_named AFTER INSERT ON seed
BEGIN
    INSERT OR IGNORE INTO name_suffix SELECT kind, tier, suffix, thing FROM name_suffixes WHERE kind = 'seed' AND thing = new.id;
END;
CREATE TRIGGER seed_renaming BEFORE UPDATE OF class_name, version ON seed WHEN new.class_name <> old.class_name OR new.version <> old.version
BEGIN
    DELETE FROM name_suffix WHERE kind = 'seed' AND thing = old.id AND tier IN (1, 2, 3)
        AND suffix IN (SELECT suffix FROM name_suffixes WHERE kind = 'seed' AND thing = old.id);
END;
CREATE TRIGGER seed_renamed AFTER UPDATE OF class_name, version ON seed WHEN new.class_name <> old.class_name OR new.version <> old.version
BEGIN
    INSERT OR IGNORE INTO name_suffix SELECT kind, tier, suffix, thing FROM name_suffixes WHERE kind = 'seed' AND thing = new.id;
END;
CREATE TRIGGER seed_unnamed BEFORE DELETE ON seed
BEGIN
    DELETE FROM name_suffix WHERE kind = 'seed' AND thing = old.id AND tier IN (1, 2, 3)
        AND suffix IN (SELECT suffix FROM name_suffixes WHERE kind = 'seed' AND thing = old.id);
END;

-- A statement that has a trigger write more rows is one in which SQLite looks, for each row, at all that refer to its table.
CREATE INDEX lease_of_machine ON lease (machine_id);
CREATE INDEX lease_of_account ON lease (account_id);
CREATE INDEX request_of_machine ON request (machine_id);
CREATE INDEX job_of_machine ON job (machine_id);
CREATE INDEX job_of_account ON job (account_id);
