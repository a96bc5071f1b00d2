"""Sequences as people write them, in files and forms: all that is wrong is said at once, each at its place."""

import hashlib
import logging
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, NamedTuple

import yaml

from appliance import catalog
from appliance.catalog import Account, Class, EventKind, Group, OrgUnit, VersionState, record, sequences
from appliance.catalog import Sequence as Row
from appliance.errors import DpeError
from appliance.identity.roles import ROLES
from appliance.settings import REPOSITORY
from appliance.workflow import kinds
from appliance.workflow.master import master
from appliance.workflow.sequence import Activity, Around, Sequence, dump
from appliance.yamlfile import FileErrors, Place, Source

log = logging.getLogger(__name__)

FOLDER = REPOSITORY / "playbooks/workflows"
PARTS: tuple[Literal["before", "after"], ...] = ("before", "after")

_PATTERNS = {
    r"^[a-z][a-z0-9_-]{0,40}$": "write a small letter, then small letters, digits, hyphens and underscores, 41 at most",
    kinds.DURATION: "write a number and s, m, h or d, such as 90s, 15m, 24h or 7d",
}


class Problem(NamedTuple):
    """One thing that is wrong, and where: the move, before or after it, which activity, and which field of it. A `warning` stops nothing."""

    place: Place
    message: str
    hint: str
    warning: bool = False

    @property
    def spot(self) -> Place:
        """Move, part and number, as far as it is inside of one."""
        return self.place[1:4]

    @property
    def field(self) -> str:
        """The field of the activity, with dots; empty when it is about the whole of it."""
        return ".".join(str(part) for part in self.place[4:])


class _Form(Source[Sequence]):
    """Values of a form: a field stands beside its problem, and its name alone is enough."""

    def _name(self, path: Place) -> str:
        words = [str(part) for part in path if isinstance(part, str)]
        return words[-1].replace("_", " ").capitalize() if words else "It"

    def _of(self, path: Place) -> str:
        return ""


def check_sequence(moves: Any) -> list[Problem]:
    """All that is wrong with the moves of a sequence, plain values as in its file; nothing at all makes it raise."""
    source = _Form(Path("sequence"), Sequence, value={"name": "sequence", "title": "Sequence", "moves": moves}, patterns=_PATTERNS)
    _examine(source)
    return [Problem(error.place, error.message, error.hint.rstrip(".")) for error in source.errors]


def load(file: Path, content: bytes | None = None) -> Sequence:
    """Read and check a sequence from its file, or from `content`. Raises FileErrors, which names every error's line."""
    source = Source(file, Sequence, content, patterns=_PATTERNS)
    found = _examine(source)
    if found is not None and content is None and found.name != file.stem:
        source.wrong(("name",), f"the name is {found.name}, but the file is {file.name}", f"write name: {file.stem}, or rename the file")
    if source.errors or found is None:
        raise FileErrors("The sequence", source.errors)
    return found


def activities(moves: Any) -> Iterator[tuple[Place, dict[str, Any]]]:
    """Every activity of plain values, with its place; what is no activity is left out."""
    for move, around in moves.items() if isinstance(moves, dict) else ():
        for part in PARTS:
            listed = around.get(part) if isinstance(around, dict) else None
            for number, activity in enumerate(listed if isinstance(listed, list) else ()):
                if isinstance(activity, dict):
                    yield ("moves", move, part, number), activity


def _examine(source: Source[Sequence]) -> Sequence | None:
    found = source.validate()
    moves = source.value.get("moves") if isinstance(source.value, dict) else None
    for move in moves if isinstance(moves, dict) else ():
        known = master().move.get(move)
        if known is None or not known.sequences:
            usable = ", ".join(move.name for move in master().moves if move.sequences)
            what = f"there is no move {move!r}" if known is None else f"nothing can be put around {move}"
            source.wrong(("moves", move), what, f"write one of: {usable}")
    names: dict[str, Place] = {}
    for place, activity in activities(moves):
        _check_name(source, place, activity.get("name"), names)
        _check_kind(source, place, activity)
    return found


def _check_name(source: Source[Sequence], place: Place, name: Any, names: dict[str, Place]) -> None:
    if not isinstance(name, str):
        return
    core = next((move.name for move in master().moves if name in move.core), "")
    if core:
        source.wrong((*place, "name"), f"{name} is a step of {core} itself", "give it another name")
    elif (first := names.setdefault(name, place)) is not place:
        where = f"{first[2]} {first[1]}"
        source.wrong(
            (*place, "name"), f"{name} is there twice, first {where}", "each name is there once in a sequence: rename one of the two"
        )


def _check_kind(source: Source[Sequence], place: Place, activity: Mapping[str, Any]) -> None:
    name = activity.get("kind")
    if not isinstance(name, str):
        return
    kind = kinds.known().get(name)
    if kind is None or kind.core:
        usable = ", ".join(sorted(name for name, known in kinds.known().items() if not known.core))
        source.wrong((*place, "kind"), f"there is no kind of activity {name!r}", f"write one of: {usable}")
        return
    _, move, part, _ = place
    if kind.moves is not None and (move, part) not in kind.moves:
        usable = ", ".join(f"{part} {move.name}" for move in master().moves for part in PARTS if (move.name, part) in kind.moves)
        source.wrong((*place, "kind"), f"{kind.title} cannot come {part} {move}", f"put it {usable or 'elsewhere'}")
    options = activity.get("with", {})
    if isinstance(options, dict):
        source.validate_at((*place, "with"), kind.options, options)


def warnings(moves: Any) -> list[Problem]:
    """What names somebody or something that is not there now: it may come, or have gone."""
    there = {
        "classes": ("class", {row.name for row in Class.select(Class.name)}),
        "units": ("org unit", {row.name for row in OrgUnit.select(OrgUnit.name)}),
        "groups": ("group", {row.name for row in Group.select(Group.name)}),
        "roles": ("role", set(ROLES)),
    }
    found = []
    for place, activity in activities(moves):
        when, options = activity.get("when"), activity.get("with")
        for field, (word, names) in there.items():
            wanted = when.get(field) if isinstance(when, dict) else None
            for name in wanted if isinstance(wanted, list) else ():
                if isinstance(name, str) and name not in names:
                    hint = _like(name, names, "as long as there is none, this condition holds for nobody")
                    found.append(Problem((*place, "when", field), f"there is no {word} {name}", hint, True))
        account = options.get("account") if isinstance(options, dict) and _asks(activity) else None
        if isinstance(account, str) and account and not Account.select().where(Account.name == account).exists():
            hint = _like(account, (row.name for row in Account.select(Account.name)), "write the name that they sign in with")
            found.append(Problem((*place, "with", "account"), f"there is no account {account}", hint, True))
    return found


def _like(name: str, names: Iterable[str], otherwise: str) -> str:
    """A hint for a name that there is not: what is called nearly so."""
    known = {one.casefold(): one for one in names}
    near = get_close_matches(name.casefold()[:100], known, 3, 0.6)
    return f"did you mean {' or '.join(known[one] for one in near)}?" if near else otherwise


def _asks(activity: Mapping[str, Any]) -> bool:
    kind = kinds.known().get(activity["kind"]) if isinstance(activity.get("kind"), str) else None
    return kind is not None and kind.by == "person"


def plain(moves: Mapping[str, Around]) -> dict[str, Any]:
    """The moves as they would be written in a file, what is as it would be anyhow left out."""
    return {
        move: {part: [_written(activity) for activity in getattr(around, part)] for part in PARTS if getattr(around, part)}
        for move, around in moves.items()
        if around.before or around.after
    }


def _written(activity: Activity) -> dict[str, Any]:
    return activity.model_dump(mode="json", by_alias=True, exclude_defaults=True)


def write_sequence(name: str, title: str, about: str, moves: Any) -> str:
    """A sequence as its file has it, YAML; `load` reads it."""
    described = {"description": about} if about else {}
    value = {"name": name, "title": title, **described, "moves": moves}
    text: str = yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=120)
    return text


# -- what is shipped ------------------------------------------------------------------------------


def adopt_shipped(*folders: Path) -> None:
    """Make the files in these folders sequences, or newer versions of them; one that cannot be read is left out, and an event says so.

    A newer version is promoted by itself only where an admin promoted nothing else.
    """
    for file in [file for folder in folders for file in sorted(folder.glob("*.yml")) if file.name != "master.yml"]:
        try:
            digest = hashlib.sha256(file.read_bytes()).hexdigest()
            if sequences.shipped(file.stem) != digest:  # reading one takes a while, and nearly every start finds them as they were
                _adopt(load(file), digest)
        except (DpeError, OSError) as error:
            log.error("%s", error)
            with catalog.write():
                record(EventKind.SEQUENCE_UNREADABLE, f"{file.name}: {error}", object=f"sequence:{file.stem}")


def _adopt(found: Sequence, digest: str) -> None:
    body = dump(found.moves)
    with catalog.write():
        row: Row | None = Row.get_or_none(Row.name == found.name)
        if row is None:
            Row.insert(name=found.name, title=found.title, about=found.description, shipped=digest).execute()
            sequences.add(found.name, body, VersionState.PROMOTED, comment="As shipped")
            record(EventKind.SEQUENCE_SHIPPED, f"The sequence {found.name} is there.", object=f"sequence:{found.name}")
            for machine_class in [
                machine_class
                for machine_class in Class.select().where(Class.sequence == "")
                if machine_class.spec.get("kind", "desktop") == found.name
            ]:
                Class.update(sequence=found.name).where(Class.name == machine_class.name).execute()
            return
        if not row.shipped:
            log.warning("the sequence %s was made here; the shipped one of the same name is left out", found.name)
            return
        if row.shipped == digest:
            return
        Row.update(shipped=digest, title=found.title, about=found.description).where(Row.name == found.name).execute()
        promoted, before = sequences.promoted(found.name), sequences.latest_shipped(found.name)
        if before is not None and before.body == body:
            return
        untouched = promoted is None or (before is not None and promoted.body == before.body)
        state = VersionState.PROMOTED if untouched else VersionState.KEPT
        version = sequences.add(found.name, body, state, comment="As shipped")
        said = "follows it" if untouched else "keeps what was promoted here; the newer one can be promoted"
        record(
            EventKind.SEQUENCE_SHIPPED,
            f"A newer {found.name} came, version {version.number}: the appliance {said}.",
            object=f"sequence:{found.name}",
        )
