"""Which catalog this is, and whether it is the one that the state directory belongs to.

A catalog has an identity, made with it, and a generation, which grows with each start of the engine. Beside it, in `<state>/catalog-mark.json`, the
engine notes both, and the last line of the record of events with its hash. As lines are chained (see events.py), a catalog that does not have
that line is an older copy, whatever its generation; one of another identity is another appliance's, or new.
"""

import contextlib
import json
import sqlite3
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path

from appliance import durable
from appliance.catalog import options
from appliance.catalog.database import rows, write
from appliance.errors import Unavailable


class Standing(StrEnum):
    """How a catalog stands to the state directory that it is found in."""

    SAME = "same"  # it goes on where the engine left it
    OLDER = "older"  # an older copy of the same
    OTHER = "other"  # another one, or a new one
    UNMARKED = "unmarked"  # nothing is noted: the state directory is new, or from before there were marks


@dataclass(frozen=True)
class Mark:
    """How far a catalog had got. `decision` is what is to be done with what the next catalog does not know, when that was decided beforehand."""

    id: str
    generation: int
    event: int = 0
    hash: str = ""
    decision: str = ""
    by: str = ""


def here() -> Mark:
    """The open catalog, as it is now."""
    known = options.get("lineage")
    last = rows("SELECT id, hash FROM event ORDER BY id DESC LIMIT 1")
    event, hash = last[0] if last else (0, "")
    return Mark(known["id"], known["generation"], event, hash)


def mark_of(file: Path) -> Mark:
    """A catalog that nobody uses, as it was last. Raises Unavailable when it cannot be read."""
    try:
        with contextlib.closing(sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro", uri=True)) as connection:
            known = json.loads(connection.execute("SELECT value FROM option WHERE name = 'lineage'").fetchone()[0])
            event, hash = connection.execute("SELECT id, hash FROM event ORDER BY id DESC LIMIT 1").fetchone() or (0, "")
            return Mark(known["id"], known["generation"], event, hash)
    except (sqlite3.Error, ValueError, LookupError, TypeError) as error:
        raise Unavailable(f"The catalog {file.name} cannot be read: {error}.", "Use another copy of it.") from error


def standing(mark: Mark | None) -> Standing:
    """How the open catalog stands to what was noted."""
    if mark is None:
        return Standing.UNMARKED
    known = options.get("lineage")
    if known["id"] != mark.id:
        return Standing.OTHER
    line = rows("SELECT hash FROM event WHERE id = ?", (mark.event,))
    continues = not mark.event or (bool(line) and line[0][0] == mark.hash)
    return Standing.SAME if continues and known["generation"] >= mark.generation else Standing.OLDER


def begin_lineage(mark: Mark | None) -> None:
    """The next generation begins, above all that were."""
    with write():
        known = options.get("lineage")
        above = max(known["generation"], mark.generation if mark is not None and mark.id == known["id"] else 0)
        options.put("lineage", {**known, "generation": above + 1})


# -- the note beside it ---------------------------------------------------------------------------


def read_mark(file: Path) -> Mark | None:
    """What was noted; None when nothing was, or it cannot be read."""
    try:
        return Mark(**json.loads(file.read_bytes()))
    except (OSError, ValueError, TypeError):
        return None


def keep_mark(file: Path, mark: Mark) -> None:
    """Note it, so that it is there whole, or as it was before, after a power cut. Raises OSError."""
    durable.write(file, json.dumps(asdict(mark)))


def decide_beforehand(file: Path, decision: str, by: str) -> None:
    """Somebody who puts another catalog in place has decided already what becomes of the machines that it does not know: adopt or aside."""
    mark = read_mark(file)
    if mark is not None:  # else there is nothing that could differ from it
        keep_mark(file, Mark(**{**asdict(mark), "decision": decision, "by": by}))
