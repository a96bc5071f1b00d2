-- Somebody asked to stay signed in on the device, for as long as the admin allows.
ALTER TABLE session ADD COLUMN kept INTEGER NOT NULL DEFAULT 0;
