-- The language that a person chose; empty: what their browser asks for.
ALTER TABLE account ADD COLUMN language TEXT NOT NULL DEFAULT '';
