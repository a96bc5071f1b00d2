-- How many machines one request may be for is the burst of a class; how long it waits for all of them, its batch window, in minutes.
ALTER TABLE class RENAME COLUMN at_once TO burst;
ALTER TABLE class RENAME COLUMN together_minutes TO batch_window;
UPDATE class SET spec = json_remove(json_set(spec, '$.burst', spec ->> 'at_once'), '$.at_once') WHERE spec ->> 'at_once' IS NOT NULL;
UPDATE class SET spec = json_remove(json_set(spec, '$.batch_window', spec ->> 'together'), '$.together') WHERE spec ->> 'together' IS NOT NULL;
UPDATE class SET overrides = json_remove(json_set(overrides, '$.burst', overrides ->> 'at_once'), '$.at_once')
    WHERE overrides ->> 'at_once' IS NOT NULL;
UPDATE class SET overrides = json_remove(json_set(overrides, '$.batch_window', overrides ->> 'together_minutes'), '$.together_minutes')
    WHERE overrides ->> 'together_minutes' IS NOT NULL;
