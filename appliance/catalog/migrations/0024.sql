-- Which of its machine's pages were opened: a bit for each, the first page's being 1.
ALTER TABLE lease ADD COLUMN opened_pages INTEGER NOT NULL DEFAULT 0;
UPDATE lease SET opened_pages = 1 WHERE opened_at IS NOT NULL;
