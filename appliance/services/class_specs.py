"""What the machines of a class are, as a form says it: another version of scenario.yml, checked as any other; and what such a class comes to here."""

import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from appliance import catalog
from appliance.catalog import Actor, Class, EventKind, ScenarioVersion, class_rows, doorbell, record
from appliance.catalog import scenarios as scenario_rows
from appliance.catalog import seeds as seed_rows
from appliance.catalog.class_rows import Left
from appliance.errors import BadInput, Conflict, NotFound, Unavailable
from appliance.packages import Estimate
from appliance.pools.capacity import Holds
from appliance.scenario import applications, edit
from appliance.scenario.load import NAME, PATTERNS, ScenarioErrors
from appliance.scenario.schema import ClassSpec, Scenario
from appliance.scenario.tree import MAIN
from appliance.services import classes, host_metrics, packages, scenarios, server
from appliance.services.scenarios import Change
from appliance.settings import Settings
from appliance.yamlfile import Place, Source, without_none

RECENT = 5  # builds from which it is said how long the next one takes


# -- what there is --------------------------------------------------------------------------------


def scenario() -> Scenario:
    """The current one. Raises NotFound before the first start, Conflict when this version of the appliance does not take it."""
    found = _described(scenarios.current().digest)
    if found is None:
        raise Conflict("The current scenario cannot be used by this version of the appliance.", "Edit it on the page Scenario first.")
    return found


@lru_cache(maxsize=2)
def _described(digest: str) -> Scenario | None:
    """What the current version says; a digest stands for all its files, and reading them takes longest of what a page does."""
    return scenarios.described(scenarios.current())


def has(name: str) -> bool:
    """Whether the current scenario has the class."""
    digest = scenario_rows.digest()
    found = _described(digest) if digest else None
    return found is not None and name in found.classes


def spec_of(name: str) -> ClassSpec:
    """A class as the scenario has it. Raises NotFound for one that it does not have."""
    found = scenario().classes.get(name)
    if found is None:
        raise NotFound(f"The scenario has no class {name}.", "Go back to a version of the scenario that has it.")
    return found


def roles() -> list[str]:
    """The roles that a class can name."""
    paths = scenarios.current().tree
    return sorted({path.split("/")[1] for path in paths if path.startswith("roles/") and path.endswith("/tasks/main.yml")})


# -- editing --------------------------------------------------------------------------------------


class Wrong(BadInput):
    """What is wrong with a class, by field: its path with points, or empty for what is about all of it. Each with what to write instead."""

    def __init__(self, fields: Mapping[str, tuple[str, str]]) -> None:
        first, (message, hint) = next(iter(fields.items()))
        super().__init__(f"{message[:1].upper()}{message[1:]}.", f"{hint[:1].upper()}{hint[1:]}.", field=first)
        self.fields = dict(fields)


@dataclass(frozen=True)
class Draft:
    """What a form comes to: the text of scenario.yml, and what it changes."""

    name: str
    spec: ClassSpec
    text: str
    change: Change


def draft(name: str, values: Mapping[str, Any], *, new: bool) -> Draft:
    """What the values, as scenario.yml has them, make of the class. Raises Wrong, NotFound, Conflict, BadInput."""
    here = scenario()
    if new:
        check_name(name)
    was = None if new else spec_of(name)
    source = Source(Path(MAIN), ClassSpec, patterns=PATTERNS, value=dict(values))
    spec = source.validate()
    if spec is None or source.errors:
        raise Wrong(_by_field([(_named(one.place, values), one.message, one.hint) for one in source.errors]))
    if was == spec:
        raise BadInput("That is what there is already.", "Change something first.")
    text = edit.with_class(scenarios.text(scenarios.current()), name, was, spec)
    try:
        change, _ = scenarios.with_text(text)
    except ScenarioErrors as error:
        raise Wrong(_of_class(error, name, values)) from None
    if change.scenario.classes[name] != spec or len(change.scenario.classes) != len({*here.classes, name}):
        raise BadInput("This cannot be written into scenario.yml by the form.", "Write it in the editor of the page Scenario.")
    return Draft(name, spec, text, change)


def _named(place: Place, values: Mapping[str, Any]) -> Place:
    """The place with the name of an application in place of its number."""
    if place[:1] != ("applications",) or len(place) < 2 or not isinstance(place[1], int):
        return place
    return ("applications", values["applications"][place[1]]["name"], *(place[2:] if place[2:] != ("name",) else ()))


def _of_class(error: ScenarioErrors, name: str, values: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """What is wrong with the class, or all that is wrong when something else is."""
    place = ("classes", name)
    mine = [one for one in error.errors if one.place[:2] == place]
    if not mine:
        return {"": (f"{error.errors[0].file}, line {error.errors[0].line}: {error.errors[0].message}", error.errors[0].hint)}
    return _by_field([(_named(one.place[2:], values), one.message.replace(f"classes.{name}.", ""), one.hint) for one in mine])


def _by_field(errors: list[tuple[tuple[str | int, ...], str, str]]) -> dict[str, tuple[str, str]]:
    """The errors by the field that they are about: an item of a list is the list's; what several fields say together is that of the first it names."""
    found: dict[str, tuple[str, str]] = {}
    for place, message, hint in errors:
        keys = [str(part) for number, part in enumerate(place) if not any(isinstance(one, int) for one in place[: number + 1])]
        first = message.split(" ", 1)[0]
        if _is_field([*keys, first]):
            keys.append(first)
        found.setdefault(".".join(keys), (message, hint))
    return found


def _is_field(keys: list[str]) -> bool:
    model: Any = ClassSpec
    for key in keys:
        fields = getattr(model, "model_fields", {})
        if key not in fields:
            return False
        model = without_none(fields[key].annotation)
    return True


def check_name(name: str) -> None:
    """Raise Wrong for a short name that a new class cannot have."""
    if not NAME.fullmatch(name):
        raise Wrong(
            {"name": (f"{name[:40]!r} cannot be a short name" if name else "the short name is missing", PATTERNS[f"^{NAME.pattern}$"])}
        )
    if Class.get_or_none(Class.name == name) is not None or name in scenario().classes:
        raise Wrong({"name": (f"there is a class {name} already", "choose another short name")})


def save(actor: Actor, found: Draft, *, seen: int, comment: str = "", build: bool = False) -> ScenarioVersion:
    """Make it the current version. Raises Conflict, ScenarioErrors."""
    return scenarios.save_text(actor, found.text, seen=seen, comment=comment, build=build, did=f"changed the class {found.name}")


# -- deleting -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Leaving:
    """What stands against deleting a class: what is left of it, that it is offered, that it is the only one of the scenario."""

    left: list[Left]
    enabled: bool
    is_only: bool

    @property
    def is_free(self) -> bool:
        return not self.left and not self.enabled and not self.is_only


def leaving(name: str) -> Leaving:
    """Raises NotFound."""
    machine_class = classes.get_class(name)
    return Leaving(class_rows.left(name), bool(machine_class.enabled), list(scenario().classes) == [name])


def delete(actor: Actor, name: str, *, seen: int) -> ScenarioVersion | None:
    """Take a class out of the scenario and the catalog, of which nothing but its history is left; that goes, its events stay.

    Returns the version of the scenario that was made; None where it did not have the class. Raises NotFound, and Conflict while anything is left.
    """

    def forget() -> None:
        if class_rows.left(name):
            raise Conflict(f"Something is left of {name}.", "Reload the page to see what.")
        class_rows.delete(name)
        record(EventKind.CLASS_DELETED, f"{actor.name} deleted the class {name}.", actor, class_name=name)

    found = leaving(name)
    if found.enabled:
        raise Conflict(f"{name} is offered.", "Disable it first.")
    if found.is_only:
        raise Conflict(f"{name} is the only class of the scenario.", "Create another one first.")
    if name in scenario().classes:
        text, did = edit.without_class(scenarios.text(scenarios.current()), name), f"took the class {name} out of scenario.yml"
        return scenarios.save_text(actor, text, seen=seen, comment=f"{name} deleted", did=did, also=forget)
    with catalog.write():
        forget()
    doorbell.ring()
    return None


def remove_seeds(actor: Actor, name: str) -> int:
    """Delete the files of all seeds of a class that is withdrawn, the promoted one's as well; returns how many. Raises Conflict while machines need one."""
    with catalog.write():
        if classes.get_class(name).enabled:
            raise Conflict(f"{name} is offered.", "Disable it first.")
        found = [seed for seed in seed_rows.of_class(name) if seed.state is catalog.SeedState.READY]
        for seed in found:
            if count := seed_rows.machines_on(seed.id):
                raise Conflict(f"{count} live machines were made from v{seed.version}, and need it.", "They go with time; delete it then.")
        seed_rows.withdraw(name)
        for seed in found:
            text = f"{actor.name} deleted the files of seed {name} v{seed.version}."
            record(EventKind.SEED_REMOVED, text, actor, class_name=name, seed_id=seed.id)
    doorbell.ring()
    return len(found)


# -- what it comes to here ------------------------------------------------------------------------


@dataclass(frozen=True)
class Preview:
    """What machines of a class take on this host. `memory` is MiB that one may grow to, `seed` MiB of the last seed, `seconds` what the build of the
    next is thought to take by the last `builds` of `like`; both None where nothing was measured."""

    memory: int
    holds: Holds
    seed: int | None
    seconds: float | None
    builds: int
    like: str


def needs(spec: Mapping[str, Any]) -> tuple[int, int] | None:
    """MiB of memory and GiB of disk that the applications of a class take with their operating system; None where it has none."""
    found = [
        (entry, one.get("options", {}))
        for one in spec.get("applications", [])
        if (entry := applications.catalogue(scenario_rows.own_applications).get(one["name"])) is not None
    ]
    return applications.needed(found) if found else None


def download(spec: Mapping[str, Any]) -> Estimate | None:
    """What the packages of a class and of its applications bring besides the operating system; None where its release's index is not known or not read."""
    there = applications.catalogue(scenario_rows.own_applications)
    chosen = [(there[one["name"]], one.get("options", {})) for one in spec.get("applications", []) if one["name"] in there]
    names = [name for entry, options in chosen for name in entry.packages(options)]
    try:
        return packages.estimate(spec["os"], [*spec.get("packages", []), *names])
    except Unavailable:
        return None


def preview(settings: Settings, name: str, os: str, memory: int) -> Preview:
    """By this host's memory and disk, and the builds that were done on it; `memory` is MiB of a machine of the class."""
    measured = seed_rows.measured()
    of_class = [one for one in measured if one.class_name == name]
    of_os = [one for one in measured if one.os == os]
    found, like = next(
        ((some, like) for some, like in ((of_class, "this class"), (of_os, os), (measured, "other classes")) if some), ([], "")
    )
    recent = found[:RECENT]
    return Preview(
        memory=host_metrics.nominal(memory),
        holds=server.fits(settings, memory),
        seed=next((one.bytes >> 20 for one in found if one.bytes), None),
        seconds=statistics.median(one.seconds for one in recent) if recent else None,
        builds=len(recent),
        like=like,
    )
