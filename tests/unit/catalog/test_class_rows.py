"""A class goes with all that refers to it: whatever table comes, it is counted as left, deleted with the history, or goes along by itself."""

import re

from appliance.catalog import class_rows
from appliance.catalog.database import rows
from appliance.settings import Settings


def test_every_table_that_refers_to_a_class_or_its_history_is_thought_of(opened: Settings) -> None:
    named = set(re.findall(r"FROM (\w+)", " ".join([*class_rows._LEFT.values(), *class_rows._HISTORY])))
    going = {"class", "machine", "seed", "request", "run", "lease", "snapshot"}
    for (table,) in rows("SELECT name FROM sqlite_master WHERE type = 'table'"):
        keys = [(referred, on_delete) for _, _, referred, _, _, _, on_delete, _ in rows(f"PRAGMA foreign_key_list({table})")]
        along = any(on_delete == "CASCADE" and referred in going for referred, on_delete in keys)
        for referred, on_delete in keys:
            if referred in going and on_delete not in ("CASCADE", "SET NULL"):
                assert table in named or along, f"{table} refers to {referred}"
