"""What is left of a class, and the end of it."""

from typing import NamedTuple

from appliance.catalog.database import rows
from appliance.catalog.models import Class


class Left(NamedTuple):
    """Things of a class that keep it from being deleted, and how many."""

    kind: str
    number: int


# What there may be of a class; `?` is its name.
_LEFT = {
    "machine": "SELECT count(*) FROM machine WHERE class_name = ? AND state <> 'retired'",
    "request": "SELECT count(*) FROM request WHERE class_name = ? AND state IN ('pending', 'waiting')",
    "run": "SELECT count(*) FROM run WHERE class_name = ? AND ended_at IS NULL",
    "job": "SELECT count(*) FROM job WHERE class_name = ? AND state IN ('queued', 'running')",
    "data_disk": "SELECT count(*) FROM data_disk WHERE class_name = ?",
    "kept_disk": "SELECT count(*) FROM kept_disk WHERE class_name = ?",
    "seed": "SELECT count(*) FROM seed WHERE class_name = ? AND (stored OR state IN ('queued', 'building', 'ready'))",
    "recipe": "SELECT count(*) FROM recipe WHERE base = ?",
    "grant": "SELECT count(*) FROM permit WHERE over_class = ?",
    "quota": "SELECT count(*) FROM quota WHERE class_name = ?",
}


def left(name: str) -> list[Left]:
    """What is there of a class besides its history."""
    found = [Left(kind, rows(sql, (name,))[0][0]) for kind, sql in _LEFT.items()]
    return [one for one in found if one.number]


# Its history, what refers to others first. What is about runs, readings and hand-overs goes along.
_HISTORY = (
    """DELETE FROM run WHERE class_name = ?1 OR machine_id IN (SELECT id FROM machine WHERE class_name = ?1)
        OR request_id IN (SELECT id FROM request WHERE class_name = ?1)""",
    "DELETE FROM replica WHERE class_name = ?1",
    "DELETE FROM job WHERE class_name = ?1",
    "DELETE FROM lease WHERE machine_id IN (SELECT id FROM machine WHERE class_name = ?1)",
    "DELETE FROM request WHERE class_name = ?1",
    "DELETE FROM machine WHERE class_name = ?1",
    "DELETE FROM snapshot WHERE seed_id IN (SELECT id FROM seed WHERE class_name = ?1)",
    "DELETE FROM seed WHERE class_name = ?1",
    "DELETE FROM kept_door WHERE class_name = ?1",
    "DELETE FROM favourite WHERE class_name = ?1",
    "DELETE FROM recipe WHERE class_name = ?1",
)


def delete(name: str) -> None:
    """Forget a class of which nothing is left, and its history; events stay. Call it inside `write()`."""
    for sql in _HISTORY:
        rows(sql, (name,))
    Class.delete().where(Class.name == name).execute()
