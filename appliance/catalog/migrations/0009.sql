-- The end of a lease is told where its holder looks, at two moments; a machine that is busy at the end is kept a while.
ALTER TABLE class ADD COLUMN warn_first INTEGER NOT NULL DEFAULT 1440; -- minutes before the end, but at most a quarter of the lease; 0: not
ALTER TABLE class ADD COLUMN warn_last INTEGER NOT NULL DEFAULT 60;    -- the same, but at most an eighth
ALTER TABLE class ADD COLUMN busy_grace INTEGER NOT NULL DEFAULT 60;   -- minutes that a busy machine is kept after the end at most; 0: it is not
ALTER TABLE lease ADD COLUMN kept_until TEXT; -- set when it ended while the machine was busy: then ends_at follows the use, up to here
