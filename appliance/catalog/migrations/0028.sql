-- What the rules of a class came to, by the number that they say: how many, when that changed last, and what was told of it.
ALTER TABLE class ADD COLUMN scaling TEXT NOT NULL DEFAULT '{}';
