SELECT 1; -- replaced by the work that owns this number
