"""The scenario as admins change it: versions, what differs between them, going back, import and export, and a newer one brought together with theirs.

Nothing becomes the current version that the loader has anything to say against, and every one that was stays.
"""

import hashlib
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from appliance import catalog
from appliance.catalog import Actor, EventKind, ScenarioState, ScenarioVersion, doorbell, record, scenarios
from appliance.catalog import seeds as seed_rows
from appliance.errors import BadInput, Conflict, DpeError, NotFound
from appliance.scenario import changes, tree
from appliance.scenario.changes import ClassChange, FileChange
from appliance.scenario.load import ScenarioErrors, load
from appliance.scenario.merge import Merged, Side, merge
from appliance.scenario.schema import Scenario
from appliance.scenario.tree import MAIN, File, Listing, Tree
from appliance.services import packages, seeds
from appliance.services.scenario_adoption import adopt_scenario
from appliance.settings import Settings

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Change:
    """What it is to go from one tree to another: classes, and lines of files."""

    before: Tree
    after: Tree
    was: Scenario | None
    scenario: Scenario

    @cached_property
    def classes(self) -> list[ClassChange]:
        """The classes that differ."""
        return changes.classes(
            self.was,
            self.scenario,
            roles=changes.roles_differ(self.before, self.after),
            applications=changes.applications_differ(self.before, self.after),
        )

    @cached_property
    def files(self) -> list[FileChange]:
        """The files that differ."""
        return changes.files(self.before, self.after)

    @property
    def built(self) -> list[ClassChange]:
        """Classes whose machines are other ones only when their seed is built anew."""
        return [one for one in self.classes if one.is_built]

    @property
    def line(self) -> str:
        """All of it in a line."""
        return changes.in_one_line(self.classes, self.files)


# -- looking --------------------------------------------------------------------------------------


def current() -> ScenarioVersion:
    """The version that counts. Raises NotFound before the engine's first start."""
    found = scenarios.current()
    if found is None:
        raise NotFound("There is no scenario yet.", "The engine reads it when it starts.")
    return found


def version(number: int) -> ScenarioVersion:
    """A version by its number. Raises NotFound."""
    found = scenarios.numbered(number)
    if found is None:
        raise NotFound(f"There is no version {number} of the scenario.", "Its page shows those there are.")
    return found


def waiting(state: ScenarioState) -> ScenarioVersion:
    """What is offered or imported, and waits for somebody. Raises NotFound."""
    found = scenarios.in_state(state)
    if found is None:
        raise NotFound("There is nothing that waits.", "Somebody may have decided about it; see the versions.")
    return found


def described(of: ScenarioVersion) -> Scenario | None:
    """What a version says; None when the loader of today does not take it."""
    return _loosely(scenarios.read(of.tree))


def outcome(of: ScenarioVersion, both: Merged) -> Change:
    """What it is to go from a version to what comes of bringing two together. Raises ScenarioErrors."""
    return _change(scenarios.read(of.tree), both.tree, tree.check(both.tree, packages.names))


def before(of: ScenarioVersion) -> ScenarioVersion | None:
    """The version before it that is still there."""
    return scenarios.preceding(of.number)


def text(of: ScenarioVersion) -> str:
    """Its scenario.yml."""
    return scenarios.read({MAIN: of.tree[MAIN]})[MAIN].content.decode()


def compare(one: Listing, other: Listing) -> Change:
    """What it is to go from one to the other, of trees that the catalog has."""
    return _change(scenarios.read(one), scenarios.read(other))


def export(of: ScenarioVersion) -> tuple[str, bytes]:
    """The name of a zip, and the zip."""
    files = scenarios.read(of.tree)
    found = _loosely(files)
    name = found.name if found else "scenario"
    return f"{name}.zip", tree.to_zip(files, name)


def stamp(content: str) -> str:
    """What tells one text from another."""
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def _change(one: Tree, other: Tree, scenario: Scenario | None = None) -> Change:
    return Change(one, other, _loosely(one), scenario or _loosely(other) or tree.check(other))


def _loosely(files: Tree) -> Scenario | None:
    """What it says; None when the loader of today does not take it."""
    try:
        return tree.check(files)
    except DpeError:
        return None


# -- changing -------------------------------------------------------------------------------------


def _become(
    files: Tree,
    comment: str,
    said: str,
    actor: Actor | None,
    *,
    seen: int | None,
    build: bool = False,
    of: ScenarioVersion | None = None,
    base: Listing | None = None,
    also: Callable[[], None] = lambda: None,
) -> ScenarioVersion:
    """Make it the current version, with classes, event, seeds, and what `also` does, in one transaction. It takes the place of what waited: `of`.

    `seen` is the number that it was made from. Raises Conflict when another one is current by now, or waits; ScenarioErrors when it cannot be used.
    """
    scenario, was = tree.check(files, packages.names if actor else None), current()
    if seen not in (None, was.number):
        whose = f"{was.author or 'The appliance'} made version {was.number} in the meantime"
        raise Conflict(f"{whose}: {was.changes or was.comment}.", "Compare it with yours, and do yours again.")
    change = _change(scenarios.read(was.tree), files, scenario)
    line, base = change.line, was.base if base is None else base
    with catalog.write():
        if scenarios.number() != was.number:
            raise Conflict("Another version was made in the meantime.", "Compare it with yours, and do yours again.")
        if of is not None:
            waiting_as(of.state, of.digest)
            scenarios.drop(of.state)
        author = actor.name if actor else ""
        made = scenarios.put(files, ScenarioState.CURRENT, base, author=author, comment=comment, changes=line)
        _reopen(change)
        adopt_scenario(scenario)
        also()
        message = f"{said}, version {made.number} of the scenario: {line}."
        record(
            EventKind.SCENARIO_CHANGED, message, actor or catalog.ENGINE, comment=comment, changes=line, object=f"scenario:{made.number}"
        )
        for one in change.built if build else ():
            if actor is not None and not seed_rows.unfinished(one.name) and catalog.Class.get_or_none(catalog.Class.name == one.name):
                seeds.build(one.name, actor)
    doorbell.ring()
    return made


def _reopen(change: Change) -> None:
    """A class that comes back is offered again; call it inside `write()`."""
    back = [one.name for one in change.classes if one.effect == "new"]
    catalog.Class.update(enabled=True).where(catalog.Class.name.in_(back)).execute()


def as_text(content: str) -> bytes:
    """What somebody typed, with the ends of lines that files have."""
    return content.replace("\r\n", "\n").replace("\r", "\n").encode(errors="replace")


def with_text(content: str) -> tuple[Change, Tree]:
    """The current version with another scenario.yml, and what that is to it. Raises ScenarioErrors."""
    was = scenarios.read(current().tree)
    files = {**was, MAIN: replace(was.get(MAIN, File(b"")), content=as_text(content))}
    return _change(was, files, tree.check(files, packages.names)), files


def save_text(
    actor: Actor,
    content: str,
    *,
    seen: int,
    comment: str = "",
    build: bool = False,
    did: str = "changed scenario.yml",
    also: Callable[[], None] = lambda: None,
) -> ScenarioVersion:
    """Make the current version with another scenario.yml; what `also` does is in the same transaction.

    Raises ScenarioErrors, Conflict, and BadInput when it is what there is.
    """
    change, files = with_text(content)
    if not change.files:
        raise BadInput("That is what there is already.", "Change something first.", field="text")
    return _become(files, comment, f"{actor.name} {did}", actor, seen=seen, build=build, also=also)


def save_files(
    actor: Actor,
    files: Tree,
    *,
    seen: int,
    comment: str = "",
    build: bool = False,
    did: str,
    of: ScenarioVersion | None = None,
) -> ScenarioVersion:
    """Make the current version with other files, which take the place of what waited: `of`. Raises ScenarioErrors, Conflict."""
    return _become(files, comment, f"{actor.name} {did}", actor, seen=seen, build=build, of=of)


def outcome_of(files: Tree) -> Change:
    """What it is to go from the current version to one of these files. Raises ScenarioErrors."""
    return _change(scenarios.read(current().tree), files, tree.check(files, packages.names))


def go_back(actor: Actor, number: int, *, seen: int, comment: str = "", build: bool = False) -> ScenarioVersion:
    """Make an earlier version's files the newest version. Raises NotFound, Conflict, ScenarioErrors."""
    wanted = version(number)
    if wanted.state is ScenarioState.CURRENT:
        raise Conflict(f"Version {number} is the current one.", "Choose another.")
    said = f"{actor.name} went back to version {number}"
    return _become(scenarios.read(wanted.tree), comment or f"Back to version {number}", said, actor, seen=seen, build=build)


def import_zip(actor: Actor, content: bytes) -> ScenarioVersion:
    """Keep a scenario that somebody sent until they say what becomes of it. Raises BadInput for a zip, ScenarioErrors for a scenario, that cannot be used."""
    files = tree.read_zip(content)
    tree.check(files, packages.names)
    with catalog.write():
        made = scenarios.put(files, ScenarioState.IMPORTED, current().base, author=actor.name)
        record(EventKind.SCENARIO_IMPORTED, f"{actor.name} sent a scenario of {len(files)} files.", actor)
    return made


def take_import(actor: Actor, *, digest: str, seen: int, comment: str = "", build: bool = False) -> ScenarioVersion:
    """Make what was sent the current version; `digest` is what the actor saw. Raises NotFound, Conflict, ScenarioErrors."""
    found = waiting_as(ScenarioState.IMPORTED, digest)
    said = f"{actor.name} imported a scenario"
    return _become(scenarios.read(found.tree), comment or "Imported", said, actor, seen=seen, build=build, of=found)


def discard_import(actor: Actor) -> None:
    """Forget what was sent. Raises NotFound."""
    with catalog.write():
        waiting(ScenarioState.IMPORTED)
        scenarios.drop(ScenarioState.IMPORTED)
        record(EventKind.SCENARIO_DISCARDED, f"{actor.name} discarded the scenario that was sent.", actor)


def waiting_as(state: ScenarioState, digest: str) -> ScenarioVersion:
    """What waits, if it is what somebody saw. Raises NotFound, Conflict."""
    found = waiting(state)
    if found.digest != digest:
        raise Conflict("Another one came in the meantime.", "Reload the page to see it.")
    return found


# -- a newer one from the folder ------------------------------------------------------------------


def follow_folder(settings: Settings) -> None:
    """Take in the folder's scenario: at first as it is, later as a new version where nobody changed anything, else as an offer.

    Raises ScenarioErrors, BadInput when it cannot be used and there is no other; otherwise the current version counts on, and an event says so.
    """
    now = scenarios.current()
    try:
        theirs = tree.read_folder(settings.scenario) if settings.scenario.is_dir() else {}
        listed = tree.listing(theirs)
        digest = tree.digest(listed)
        if now is not None and digest == tree.digest(now.base):
            with catalog.write():
                scenarios.drop(ScenarioState.OFFERED)  # the folder is as it was again
            return
        load(settings.scenario)  # its errors name the files where they are
        tree.check(theirs)
    except (DpeError, OSError) as error:
        if now is None:
            raise
        log.error("%s", error)
        with catalog.write():
            hint = "Mend it; until then the appliance goes by what it has."
            record(EventKind.SCENARIO_UNREADABLE, f"The scenario in {settings.scenario} cannot be used: {error}", hint=hint)
        return
    offered = scenarios.in_state(ScenarioState.OFFERED)
    if now is None:
        with catalog.write():
            scenarios.put(theirs, ScenarioState.CURRENT, listed, comment="As it came")
    elif now.digest in (tree.digest(now.base), digest):  # nobody changed anything, or they came to the same
        _become(theirs, "As it came", "A newer scenario came with the appliance", None, seen=None, of=offered, base=listed)
    elif offered is None or offered.digest != digest:
        with catalog.write():
            scenarios.put(theirs, ScenarioState.OFFERED, listed)
            message = "A newer scenario came with the appliance; the one here was changed, and counts on."
            record(EventKind.SCENARIO_OFFERED, message, hint="An admin says on the page Scenario what is taken of it.")


def merged(choices: Mapping[str, Side]) -> Merged:
    """What is offered brought together with the current version. Raises NotFound."""
    now, offered = current(), waiting(ScenarioState.OFFERED)
    return merge(scenarios.read(now.base), scenarios.read(now.tree), scenarios.read(offered.tree), choices)


def outcome_digest(both: Merged) -> str:
    """Of what comes of bringing two together; empty while a conflict has no choice."""
    return "" if any(one.chosen is None for one in both.conflicts) else tree.digest(tree.listing(both.tree))


def take_merged(
    actor: Actor, choices: Mapping[str, Side], *, digest: str, seen: int, shown: str, comment: str = "", build: bool = False
) -> ScenarioVersion:
    """Make both together the current version; `shown` is the digest of the outcome that the actor saw.

    Raises BadInput while a conflict has no choice, NotFound, Conflict, ScenarioErrors.
    """
    offered, both = waiting_as(ScenarioState.OFFERED, digest), merged(choices)
    left = [one.place for one in both.conflicts if one.chosen is None]
    if left:
        raise BadInput(f"Nothing is chosen for {', '.join(left[:3])}{' and others' if len(left) > 3 else ''}.", "Choose one side of each.")
    if shown != outcome_digest(both):
        raise Conflict("What comes of it is not what you looked at.", "Look at the changes once more, then merge.")
    return _decide(
        offered, both.tree, comment or "Merged with the newer one", f"{actor.name} merged the newer scenario", actor, seen, build=build
    )


def take_offer(actor: Actor, *, digest: str, seen: int, comment: str = "", build: bool = False) -> ScenarioVersion:
    """Make what is offered the current version as it is; what was changed here stays in the versions. Raises as `take_merged`."""
    offered = waiting_as(ScenarioState.OFFERED, digest)
    said = f"{actor.name} took the newer scenario as it is"
    return _decide(offered, scenarios.read(offered.tree), comment or "The newer one as it came", said, actor, seen, build=build)


def keep_ours(actor: Actor, *, digest: str, seen: int, comment: str = "") -> ScenarioVersion:
    """Leave what is offered, for good; the next newer one is compared with it. Raises as `take_merged`."""
    offered = waiting_as(ScenarioState.OFFERED, digest)
    return _decide(
        offered, scenarios.read(current().tree), comment or "The newer one was left", f"{actor.name} left the newer scenario", actor, seen
    )


def _decide(
    offered: ScenarioVersion, files: Tree, comment: str, said: str, actor: Actor, seen: int, *, build: bool = False
) -> ScenarioVersion:
    return _become(files, comment, said, actor, seen=seen, build=build, of=offered, base=offered.tree)


def errors_of(error: Exception) -> list[tuple[str, int, str, str]]:
    """What is wrong, each with file, line, message and hint; nothing for an error of another kind."""
    return [(str(one.file), one.line, one.message, one.hint) for one in error.errors] if isinstance(error, ScenarioErrors) else []
