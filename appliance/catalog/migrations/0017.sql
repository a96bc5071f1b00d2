-- Policy by time: windows of the week and one-offs, as the scenario or an admin has them, and what holds now as the planner last went by it. JSON.
ALTER TABLE class ADD COLUMN windows TEXT NOT NULL DEFAULT '[]';
ALTER TABLE class ADD COLUMN one_offs TEXT NOT NULL DEFAULT '[]';
ALTER TABLE class ADD COLUMN holds TEXT NOT NULL DEFAULT '{}';
-- How many were handed out since a window began.
CREATE INDEX request_granted ON request (class_name, granted_at) WHERE granted_at IS NOT NULL;
