"""What each machine and disk is, and whose, noted in a file of its own outside the catalog: all that tells of them when the catalog does not.

`<state>/labels/<kind>-<id>.json`. The engine writes one when what the catalog says has changed, within a look of it.
"""

import json
import logging
import time
from pathlib import Path
from typing import Any

from appliance import durable
from appliance.catalog import AsideKind, aside, options
from appliance.catalog.aside import Key
from appliance.errors import BadInput
from appliance.paths import below

log = logging.getLogger(__name__)

OF = ("catalog", "generation")  # which catalog it is from


def file_of(key: Key, folder: Path) -> Path:
    return below(folder, f"{key[0].value}-{key[1].replace('/', '-')}.json")


def read_label(key: Key, folder: Path) -> dict[str, Any]:
    """What is noted; empty when nothing is, or it cannot be read."""
    try:
        return dict(json.loads(file_of(key, folder).read_bytes()))
    except (OSError, ValueError, BadInput):
        return {}


class Labels:
    """Those of one state directory."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._noted: dict[Key, dict[str, Any]] = {}

    def keep(self, seconds: float | None = None) -> bool:
        """Note what has changed since the last time, for so many seconds at most; whether all of it is noted."""
        until, done = float("inf") if seconds is None else time.monotonic() + seconds, True
        lineage = options.get("lineage")
        for key, facts in aside.labels().items():
            if key not in self._noted:
                self._noted[key] = {name: value for name, value in read_label(key, self.folder).items() if name not in OF}
            if self._noted[key] == facts:
                continue
            if time.monotonic() > until:
                return False
            try:
                durable.write(
                    file_of(key, self.folder), json.dumps({**facts, "catalog": lineage["id"], "generation": lineage["generation"]})
                )
            except OSError as error:  # the disk is full: again at the next look
                log.warning("what is known of %s %s cannot be noted: %s", key[0].value, key[1], error)
                done = False
                continue
            self._noted[key] = facts
        return done

    def tidy(self, there: set[Key]) -> None:
        """Remove those of what is neither known nor there any more."""
        kinds = {kind.value: kind for kind in AsideKind}
        listed = {file: file.stem.partition("-") for file in self.folder.glob("*.json")}
        wanted = aside.labels().keys() | there  # asked afterwards: what came meanwhile is in it
        for file, (kind, _, id) in listed.items():
            if kind in kinds and (kinds[kind], id) not in wanted:
                file.unlink(missing_ok=True)
                self._noted.pop((kinds[kind], id), None)
