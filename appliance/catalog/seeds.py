"""Queries of seeds."""

from collections.abc import Iterable
from typing import Any, NamedTuple

from peewee import fn

from appliance.catalog import listing
from appliance.catalog.database import rows
from appliance.catalog.grants import Scope
from appliance.catalog.listing import Page, Window
from appliance.catalog.models import Seed, SeedState


def by_id(id: int) -> Seed | None:
    found: Seed | None = Seed.get_or_none(Seed.id == id)
    return found


def of_class(class_name: str) -> list[Seed]:
    """All versions of a class, newest first."""
    return list(Seed.select().where(Seed.machine_class == class_name).order_by(Seed.version.desc()))


SORTS: dict[str, Any] = {
    "created": Seed.id,
    "seed": fn.PRINTF("%s-%06d", Seed.machine_class, Seed.version),
    "state": Seed.state,
    "started": fn.COALESCE(Seed.started_at, Seed.created_at),
    "duration": fn.COALESCE(fn.ROUND((fn.JULIANDAY(Seed.ended_at) - fn.JULIANDAY(Seed.started_at)) * 86400, 1), -1),
}


def list_seeds(
    window: Window, reach: Scope, ids: Iterable[int] | None = None, *, state: SeedState | None = None, class_name: str = ""
) -> Page[Seed]:
    """Seeds of the classes within reach, with how many there are."""
    query = listing.narrowed(
        Seed.select(),
        Seed.state == state if state is not None else None,
        Seed.machine_class == class_name if class_name else None,
        Seed.id.in_(list(ids)) if ids is not None else None,
        listing.within(reach, Seed.machine_class),
    )
    return listing.page(query, Seed.id, SORTS, window, count=True)


def promoted(class_name: str) -> Seed | None:
    """The seed that new machines of the class are made from."""
    found: Seed | None = Seed.get_or_none(Seed.machine_class == class_name, Seed.promoted == True)  # noqa: E712
    return found


def unfinished(class_name: str | None = None) -> list[Seed]:
    """Builds that wait or run, oldest first."""
    query = Seed.select().where(Seed.state.in_([SeedState.QUEUED, SeedState.BUILDING])).order_by(Seed.id)
    return list(query if class_name is None else query.where(Seed.machine_class == class_name))


def next_version(class_name: str) -> int:
    """The number of the next version; failed builds keep theirs."""
    last: int = rows("SELECT coalesce(max(version), 0) FROM seed WHERE class_name = ?", (class_name,))[0][0]
    return last + 1


def machines_on(seed_id: int) -> int:
    """How many live machines were made from the seed."""
    count: int = rows("SELECT count(*) FROM machine WHERE seed_id = ? AND state <> 'retired'", (seed_id,))[0][0]
    return count


class Measured(NamedTuple):
    """A build that was done on this host: of which class and operating system, how many seconds it took with its test boot, and the bytes of its disk."""

    class_name: str
    os: str
    seconds: float
    bytes: int


def measured(limit: int = 200) -> list[Measured]:
    """The last builds that came to a seed here, newest first; those that came with the image have no log."""
    found = rows(
        """
        SELECT class_name, coalesce(json_extract(manifest, '$.os'), ''), (julianday(ended_at) - julianday(started_at)) * 86400,
            coalesce(json_extract(manifest, '$.files."disk.qcow2".size'), 0)
        FROM seed WHERE state IN ('ready', 'removed') AND log <> '' AND started_at IS NOT NULL AND ended_at > started_at
        ORDER BY id DESC LIMIT ?
        """,
        (limit,),
    )
    return [Measured(*row) for row in found]


def unused() -> list[Seed]:
    """Seeds with files that no machine is made from, and no live machine lives on; oldest first."""
    found = rows(
        """
        SELECT id FROM seed WHERE state = 'ready' AND promoted = 0
        AND NOT EXISTS (SELECT 1 FROM machine WHERE machine.seed_id = seed.id AND machine.state <> 'retired')
        """
    )
    return list(Seed.select().where(Seed.id.in_([row[0] for row in found])).order_by(Seed.id))


def leaving() -> list[Seed]:
    """Seeds whose files are to be removed."""
    return list(Seed.select().where(Seed.state == SeedState.REMOVED, Seed.stored == True))  # noqa: E712


def promote(seed: Seed) -> None:
    """Make this the class's seed; call it inside `write()`."""
    Seed.update(promoted=False).where(Seed.machine_class == seed.class_name, Seed.promoted == True).execute()  # noqa: E712
    Seed.update(promoted=True).where(Seed.id == seed.id).execute()


def withdraw(class_name: str) -> None:
    """Have the files of all seeds of a class go, and machines be made from none; call it inside `write()`."""
    Seed.update(state=SeedState.REMOVED, promoted=False).where(Seed.machine_class == class_name, Seed.state == SeedState.READY).execute()
