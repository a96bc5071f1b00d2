-- How fast machines are at most: what an admin said of one machine alone, and what was last seen in force. And data disks that grow by rule: how full
-- their machines say that they are, when they last grew, whether what was decided is still to be done, and what was told of why one does not.
ALTER TABLE machine ADD COLUMN rates TEXT NOT NULL DEFAULT '{}';
ALTER TABLE machine ADD COLUMN rates_in_force TEXT NOT NULL DEFAULT '{}';
ALTER TABLE data_disk ADD COLUMN filled INTEGER;
ALTER TABLE data_disk ADD COLUMN capacity INTEGER;
ALTER TABLE data_disk ADD COLUMN filled_at TEXT;
ALTER TABLE data_disk ADD COLUMN grown_at TEXT;
ALTER TABLE data_disk ADD COLUMN growing INTEGER NOT NULL DEFAULT 0;
ALTER TABLE data_disk ADD COLUMN not_grown TEXT NOT NULL DEFAULT '{}';
