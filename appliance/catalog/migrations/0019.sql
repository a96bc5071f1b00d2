-- What was forecast of a class for this week, and by what; JSON. It is made of the requests, which are never forgotten.
ALTER TABLE class ADD COLUMN forecast TEXT NOT NULL DEFAULT '{}';
CREATE INDEX request_created ON request (class_name, created_at) WHERE hit IS NOT NULL;
