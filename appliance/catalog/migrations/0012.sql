-- What an admin changed of a class's policy, JSON by name; everything else is the scenario's. The columns of the class have what counts, of both.
ALTER TABLE class ADD COLUMN overrides TEXT NOT NULL DEFAULT '{}';
