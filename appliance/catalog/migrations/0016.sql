-- Seeds and snapshots are known by their names. Where their files lie is known to what runs the machines alone.

ALTER TABLE seed ADD COLUMN stored INTEGER NOT NULL DEFAULT 0; -- whether its files are there
UPDATE seed SET stored = 1 WHERE files <> '{}';
UPDATE seed SET manifest = json_set(manifest, '$.cmdline', json_extract(files, '$.cmdline'))
    WHERE json_extract(files, '$.cmdline') IS NOT NULL AND json_extract(manifest, '$.cmdline') IS NULL;
ALTER TABLE seed DROP COLUMN files;

-- Class, version and the last part of what was its folder; empty: its files are not there.
ALTER TABLE snapshot RENAME COLUMN folder TO name;
UPDATE snapshot SET name = (SELECT class_name || '/' || version FROM seed WHERE seed.id = snapshot.seed_id)
    || '/' || replace(name, rtrim(name, replace(name, '/', '')), '') WHERE name <> '';

-- The name of the seed or snapshot that it lies on, of the path of whose disk these were the last parts but one.
UPDATE aside SET base = coalesce((
    SELECT group_concat(value, '/') FROM (
        SELECT part.value FROM json_each('[' || replace(json_quote(aside.base), '/', '","') || ']') AS part,
            (SELECT length(aside.base) - length(replace(aside.base, '/', '')) AS last) AS known
        WHERE part.key < known.last AND part.key >= known.last - iif(aside.base LIKE '%/snapshot-%/disk.qcow2', 3, 2)
        ORDER BY part.key
    )
), '') WHERE base <> '';
