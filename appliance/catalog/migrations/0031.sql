-- What the host names of a machine's pages begin with, where machines have names: random, another one for whoever gets the machine, never used
-- again, so that what a page left in a browser under such a name meets no other machine and no other person.
ALTER TABLE machine ADD COLUMN host_label TEXT NOT NULL DEFAULT '';
UPDATE machine SET host_label = 'm' || lower(hex(randomblob(8)));
CREATE UNIQUE INDEX machine_host_label ON machine (host_label);
CREATE TRIGGER machine_host_label_next AFTER UPDATE OF owner_id ON machine WHEN new.owner_id IS NOT old.owner_id
BEGIN
    UPDATE machine SET host_label = 'm' || lower(hex(randomblob(8))) WHERE number = new.number;
END;
