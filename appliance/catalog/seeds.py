"""Queries of seeds."""

from appliance.catalog.database import rows
from appliance.catalog.models import Seed, SeedState


def by_id(id: int) -> Seed | None:
    found: Seed | None = Seed.get_or_none(Seed.id == id)
    return found


def of_class(class_name: str) -> list[Seed]:
    """All versions of a class, newest first."""
    return list(Seed.select().where(Seed.machine_class == class_name).order_by(Seed.version.desc()))


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
    return [seed for seed in Seed.select().where(Seed.state == SeedState.REMOVED) if seed.files]


def promote(seed: Seed) -> None:
    """Make this the class's seed; call it inside `write()`."""
    Seed.update(promoted=False).where(Seed.machine_class == seed.class_name, Seed.promoted == True).execute()  # noqa: E712
    Seed.update(promoted=True).where(Seed.id == seed.id).execute()
