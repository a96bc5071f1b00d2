"""Recipes: what was chosen of classes that leave something open, each a class of its own."""

import statistics
from datetime import datetime, timedelta
from typing import NamedTuple

from appliance.catalog import policies, seeds
from appliance.catalog.database import rows
from appliance.catalog.models import Class, Recipe, Request, RequestState, Seed, SeedState, now, stamp
from appliance.scenario import choice
from appliance.scenario.choice import Chosen

RECENT = 5  # builds from which it is said how long the next one takes


def of_class(class_name: str) -> Recipe | None:
    """The recipe that a class is of; None for a class of the scenario."""
    found: Recipe | None = Recipe.get_or_none(Recipe.machine_class == class_name)
    return found


def names() -> set[str]:
    """The classes that are recipes."""
    return {row[0] for row in rows("SELECT class_name FROM recipe")}


def bases() -> dict[str, str]:
    """The class of which each recipe was chosen."""
    return dict(rows("SELECT class_name, base FROM recipe"))


def families() -> dict[str, list[str]]:
    """The classes of which something was chosen, each with the classes of that."""
    found = dict[str, list[str]]()
    for name, base in bases().items():
        found.setdefault(base, []).append(name)
    return found


def find(base: str, chosen: Chosen) -> Recipe | None:
    """The recipe of a choice; None when nobody asked for it yet."""
    found: Recipe | None = Recipe.get_or_none(Recipe.digest == choice.digest(base, chosen))
    return found


def use(base: Class, chosen: Chosen) -> str:
    """The class of a choice's recipe, made now if nobody asked for it yet; call it inside `write()`."""
    digest = choice.digest(base.name, chosen)
    found = rows("UPDATE recipe SET used_at = ? WHERE digest = ? RETURNING class_name", (stamp(now()), digest))
    if found:
        return str(found[0][0])
    chosen, name = chosen.normal(), choice.class_name(base.name, chosen)
    Class.insert(name=name, **policies.of_recipe(base, chosen)).execute()
    Recipe.create(machine_class=name, base=base.name, digest=digest, chosen=chosen.written())
    return name


def follow(base: str) -> None:
    """Bring all recipes of a class in line with it; call it inside `write()`."""
    for recipe in Recipe.select().where(Recipe.base == base):
        policies.follow_base(recipe)


# -- what is asked for and is not there --------------------------------------------------------------

_WAITING = """
    SELECT recipe.class_name, (SELECT min(id) FROM request WHERE request.class_name = recipe.class_name AND request.state = 'waiting') AS first
    FROM recipe WHERE first IS NOT NULL
    AND NOT EXISTS (SELECT 1 FROM seed WHERE seed.class_name = recipe.class_name AND (promoted OR state IN ('queued', 'building')))
"""


def lacking() -> list[str]:
    """Recipes that somebody waits for, of which there is no seed, nor one being built."""
    return [row[0] for row in rows(f"{_WAITING} ORDER BY first")]


def last_build(class_name: str) -> Seed | None:
    """The newest seed of a class, whatever became of it."""
    found: Seed | None = Seed.select().where(Seed.machine_class == class_name).order_by(Seed.id.desc()).first()
    return found


def waiting_since(class_name: str, moment: datetime) -> list[Request]:
    """Those who wait for a recipe and asked before that moment, oldest first."""
    return list(
        Request.select()
        .where(Request.machine_class == class_name, Request.state == RequestState.WAITING, Request.created_at <= moment)
        .order_by(Request.id)
    )


def queue(class_name: str) -> Seed:
    """Have a recipe's seed be built; call it inside `write()`."""
    return Seed.create(machine_class=class_name, version=seeds.next_version(class_name))


# -- how much they are used --------------------------------------------------------------------------


class Use(NamedTuple):
    """How much a recipe is used: `asked` since a moment, `open` requests, `live` machines of which `held` have an owner; `bytes` of the promoted seed,
    which is empty where there is none."""

    class_name: str
    base: str
    used_at: datetime
    asked: int
    open: int
    live: int
    held: int
    seed_id: int | None
    bytes: int


def uses(since: datetime) -> list[Use]:
    """Of all recipes, what was used longest ago first."""
    found = rows(
        """
        SELECT recipe.class_name, base, used_at,
            (SELECT count(*) FROM request WHERE request.class_name = recipe.class_name AND created_at >= ?1),
            (SELECT count(*) FROM request WHERE request.class_name = recipe.class_name AND state IN ('pending', 'waiting')),
            (SELECT count(*) FROM machine WHERE machine.class_name = recipe.class_name AND state <> 'retired'),
            (SELECT count(*) FROM machine WHERE machine.class_name = recipe.class_name AND state <> 'retired' AND owner_id IS NOT NULL),
            seed.id, coalesce(json_extract(seed.manifest, '$.files."disk.qcow2".size'), 0)
        FROM recipe LEFT JOIN seed ON seed.class_name = recipe.class_name AND seed.promoted ORDER BY used_at
        """,
        (stamp(since),),
    )
    return [Use(name, base, datetime.fromisoformat(at), *rest) for name, base, at, *rest in found]


def ready(base: str) -> list[tuple[Recipe, int]]:
    """The recipes of a class that have a seed, used last first, each with how many machines of it are ready."""
    found = rows(
        """
        SELECT recipe.class_name, (SELECT count(*) FROM machine WHERE machine.class_name = recipe.class_name AND state = 'ready')
        FROM recipe JOIN class ON class.name = recipe.class_name AND class.enabled
        JOIN seed ON seed.class_name = recipe.class_name AND seed.promoted WHERE base = ? ORDER BY used_at DESC
        """,
        (base,),
    )
    return [(Recipe.get_by_id(name), count) for name, count in found]


def usual_build(base: str, os: str) -> timedelta | None:
    """How long the build of a choice takes: as the last ones of the same class took, else of the same operating system; None when none was measured."""
    family, measured = {name for name, of in bases().items() if of == base}, seeds.measured()
    for some in ([one for one in measured if one.class_name in family], [one for one in measured if one.os == os]):
        if some:
            return timedelta(seconds=statistics.median(one.seconds for one in some[:RECENT]))
    return None


def twin(seed: Seed) -> Seed | None:
    """A seed whose files would be just the same: of the same class, operating system, applications, packages and disk. Memory makes no other seed."""
    mine = of_class(seed.class_name)
    if mine is None:
        return None
    for other in Recipe.select().where(Recipe.base == mine.base_name, Recipe.machine_class != mine.class_name):
        if {**other.chosen, "memory": 0} == {**mine.chosen, "memory": 0}:
            found = seeds.promoted(other.class_name)
            if found is not None and found.stored and found.state is SeedState.READY:
                return found
    return None
