"""Applications that people bring: sent, looked at, then taken into the scenario, whose versions, exports and imports have them."""

from dataclasses import dataclass
from pathlib import Path

from appliance import catalog, packages
from appliance.catalog import Actor, Class, EventKind, ScenarioState, ScenarioVersion, options, record, scenarios
from appliance.errors import BadInput, Conflict
from appliance.scenario import applications, packaged, tree
from appliance.scenario.applications import MAIN, Entry, Manifest
from appliance.scenario.load import NAME, PATTERNS, ScenarioErrors
from appliance.scenario.packaged import Packaged
from appliance.scenario.tree import Tree
from appliance.services import scenarios as versions
from appliance.services.applications import WITHDRAWN, get
from appliance.services.scenarios import Change
from appliance.yamlfile import FileError, Source


@dataclass(frozen=True)
class Waiting:
    """What somebody sent: nothing goes by it until it is taken. `was`: what there is of that name."""

    version: ScenarioVersion
    name: str
    entry: Entry
    was: Entry | None
    files: Tree
    change: Change


def send(actor: Actor, content: bytes, name: str = "") -> ScenarioVersion:
    """Keep the application in a zip until somebody says what becomes of it; without a name, it is called like the folder in the zip.

    Raises BadInput for a zip, ScenarioErrors for an application, that cannot be used: nothing is kept of it.
    """
    top, files = tree.read_application(content)
    return keep(actor, name or top, files)


def keep(actor: Actor, name: str, files: Tree) -> ScenarioVersion:
    """The same of files."""
    _composed(name, files)
    with catalog.write():
        here = {f"{applications.OWN}/{name}/{path}": file for path, file in files.items()}
        made = scenarios.put(here, ScenarioState.APPLICATION, {}, author=actor.name)
        record(EventKind.SCENARIO_IMPORTED, f"{actor.name} sent the application {name}, of {len(files)} files.", actor)
    return made


def is_waiting() -> ScenarioVersion | None:
    """What was sent and not decided on, if anything."""
    return scenarios.in_state(ScenarioState.APPLICATION)


def waiting() -> Waiting:
    """What was sent, and what taking it changes. Raises NotFound, ScenarioErrors."""
    found = versions.waiting(ScenarioState.APPLICATION)
    name = next(iter(found.tree)).split("/")[1]
    sent = scenarios.read(found.tree)
    files = tree.application(sent, name)
    change = versions.outcome_of(_composed(name, files))
    return Waiting(found, name, tree.entries(sent)[name], applications.catalogue(scenarios.own_applications).get(name), files, change)


def take(actor: Actor, *, digest: str, seen: int, comment: str = "", build: bool = False) -> ScenarioVersion:
    """Take what was sent into the scenario; `digest` is what the actor saw. Raises NotFound, Conflict, ScenarioErrors."""
    found = versions.waiting_as(ScenarioState.APPLICATION, digest)
    name = next(iter(found.tree)).split("/")[1]
    files = _composed(name, tree.application(scenarios.read(found.tree), name))
    did = f"{'changed' if name in scenarios.own_applications() else 'added'} the application {name}"
    return versions.save_files(actor, files, seen=seen, comment=comment, build=build, did=did, of=found)


def discard(actor: Actor) -> None:
    """Forget what was sent. Raises NotFound."""
    with catalog.write():
        versions.waiting(ScenarioState.APPLICATION)
        scenarios.drop(ScenarioState.APPLICATION)
        record(EventKind.SCENARIO_DISCARDED, f"{actor.name} discarded the application that was sent.", actor)


def add(actor: Actor, content: bytes, name: str = "", *, build: bool = False) -> str:
    """Take the application in a zip into the scenario at once, as programs do; returns its name. Raises as `send`, BadInput when it is there already."""
    now = versions.current()
    top, files = tree.read_application(content)
    name = name or top
    composed = _composed(name, files)
    if tree.digest(tree.listing(composed)) == now.digest:
        raise BadInput("That is what there is already.", "Change something first.", field="file")
    did = f"{'changed' if name in scenarios.own_applications() else 'added'} the application {name}"
    versions.save_files(actor, composed, seen=now.number, build=build, did=did)
    return name


def download(name: str) -> bytes:
    """A zip of it, which can be sent again; also of one that came with the appliance. Raises NotFound."""
    found = get(name)
    files = tree.application(scenarios.read(versions.current().tree), name) if found.is_own else tree.read_folder(found.folder)
    return tree.to_zip(files, name)


def made_of(name: str) -> Packaged | None:
    """What the form made of an application that the scenario brings; None where it was written by hand. Raises NotFound."""
    found = get(name)
    return packaged.read(tree.application(scenarios.read(versions.current().tree), name)) if found.is_own else None


def withdraw(actor: Actor, name: str, *, withdrawn: bool) -> None:
    """Offer it no more to classes that do not have it, or again; those that have it keep it. Raises NotFound."""
    get(name)
    with catalog.write():
        there = set(options.get(WITHDRAWN))
        if (name in there) != withdrawn:
            options.put(WITHDRAWN, sorted(there ^ {name}))
            if withdrawn:
                record(EventKind.SCENARIO_APPLICATION_WITHDRAWN, f"{actor.name} withdrew the application {name}.", actor)
            else:
                record(EventKind.SCENARIO_APPLICATION_OFFERED, f"{actor.name} offers the application {name} again.", actor)


def users(name: str) -> list[str]:
    """The classes that have it or let it be chosen, those included that nobody is offered any more but are still there."""
    return [
        one.name
        for one in Class.select().order_by(Class.name)
        if any(chosen["name"] == name for chosen in one.spec.get("applications", []))
        or name in (one.spec.get("choice") or {}).get("applications", [])
    ]


def remove(actor: Actor, name: str, *, seen: int) -> ScenarioVersion:
    """Take it out of the scenario; versions before have it. Raises NotFound, and Conflict while a class has it or it came with the appliance."""
    if not get(name).is_own:
        raise Conflict(f"{name} came with the appliance.", "Withdraw it, and no new class is offered it.")
    if found := users(name):
        raise Conflict(
            f"{', '.join(found)} {'have' if len(found) > 1 else 'has'} it.", "Take it out of these classes, or delete them, first."
        )
    files = tree.with_application(scenarios.read(versions.current().tree), name, {})
    return versions.save_files(actor, files, seen=seen, did=f"removed the application {name}")


def hidden() -> list[str]:
    """The names that both an application of the scenario and one that came with the appliance have: the scenario's counts."""
    return sorted(scenarios.own_applications().keys() & applications.shipped().keys())


def note_hidden() -> None:
    """Say once of each of these that there are two, as after an update that brought one."""
    now, known = hidden(), options.get("hidden_applications")
    if now == known:
        return
    with catalog.write():
        options.put("hidden_applications", now)
        for name in sorted(set(now) - set(known)):
            message = f"An application called {name} came with the appliance; the scenario's own one counts on."
            record(EventKind.SCENARIO_APPLICATION_HIDDEN, message, hint="Its page says how to have both.")


# -- checks -------------------------------------------------------------------------------------------


def _composed(name: str, files: Tree) -> Tree:
    """The current scenario with these files as its application of that name. Raises BadInput, ScenarioErrors with paths as the zip has them."""
    if not NAME.fullmatch(name):
        message = f"{name[:40]!r} cannot be the short name of an application." if name else "The short name is missing."
        raise BadInput(message, f"{PATTERNS[f'^{NAME.pattern}$'].capitalize()}.", field="name")
    if name in applications.shipped() and not tree.application(scenarios.read(versions.current().tree), name):
        raise BadInput(f"An application that came with the appliance is called {name}.", "Give yours another short name.", field="name")
    composed = tree.with_application(scenarios.read(versions.current().tree), name, files)
    try:
        change = versions.outcome_of(composed)
    except ScenarioErrors as error:
        above = Path(applications.OWN, name)
        raise ScenarioErrors(
            [one._replace(file=one.file.relative_to(above)) if one.file.is_relative_to(above) else one for one in error.errors]
        ) from None
    if errors := _unknown_packages(files):
        raise ScenarioErrors(errors)
    return change.after


def _unknown_packages(files: Tree) -> list[FileError]:
    """Packages that a release that it names does not have, by what is known of that release's index here."""
    source = Source(Path(MAIN), Manifest, files[MAIN].content)
    about = source.validate()
    if about is None:
        return []
    found = []
    for number, package in enumerate(about.packages):
        said = next((said for os in about.releases if (said := packages.wrong(os, package)) is not None), None)
        if said is not None:
            found.append(FileError(source.file, source.line(("packages", number)), *said))
    return found
