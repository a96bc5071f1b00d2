-- Memory by need (MiB): `memory` of a machine is what it has now, of which it was given `memory_more` since it runs; `memory_room` is the most that may ever be.
ALTER TABLE machine ADD COLUMN memory_more INTEGER NOT NULL DEFAULT 0;
ALTER TABLE machine ADD COLUMN memory_room INTEGER NOT NULL DEFAULT 0;
