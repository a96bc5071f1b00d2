"""Sequences as admins edit them: drafts that are tried before they are promoted, versions, and what differs between them."""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic import ValidationError

from appliance import catalog
from appliance.catalog import (
    Actor,
    Event,
    EventKind,
    Machine,
    Request,
    Run,
    RunState,
    Sequence,
    SequenceVersion,
    VersionState,
    doorbell,
    record,
    sequences,
)
from appliance.errors import BadInput, Conflict, NotFound
from appliance.services import machines
from appliance.workflow import kinds, load, sequence
from appliance.workflow.kinds import Kind
from appliance.workflow.load import PARTS, Problem
from appliance.workflow.master import Move, master
from appliance.yamlfile import Place

Moves = dict[str, Any]  # plain values, as under `moves` in a file


class Spot(NamedTuple):
    """Where an activity stands."""

    move: str
    part: str
    number: int


@dataclass(frozen=True)
class ActivityRow:
    """A sequence in the list of them. `newer` is a version that came with the appliance and was not promoted here."""

    row: Sequence
    classes: list[str]
    promoted: SequenceVersion | None
    draft: SequenceVersion | None
    newer: SequenceVersion | None
    activities: int


@dataclass(frozen=True)
class SequenceView:
    """A sequence as its page shows it: the draft or, without one, what is promoted. `stamp` goes with every change to it."""

    line: ActivityRow
    moves: Moves
    stamp: str
    problems: list[Problem]

    @property
    def errors(self) -> list[Problem]:
        """Those for which it cannot be promoted."""
        return [problem for problem in self.problems if not problem.warning]


def kinds_of(move: str, part: str) -> list[Kind]:
    """The kinds of activity that can be put there, by title."""
    usable = [kind for kind in kinds.known().values() if not kind.core and (kind.moves is None or (move, part) in kind.moves)]
    return sorted(usable, key=lambda kind: kind.title)


def kind(name: object) -> Kind | None:
    """The kind of that name; None when it is not there, or cannot be put anywhere."""
    found = kinds.known().get(name) if isinstance(name, str) else None
    return found if found and not found.core else None


def missing() -> Mapping[str, str]:
    """Kinds that another package should have brought, with what is wrong."""
    return kinds.broken()


def moves_around() -> list[tuple[Move, list[Kind]]]:
    """The moves that sequences can be put around, each with the steps of its own."""
    return [(move, [kinds.known()[name] for name in move.core if name in kinds.known()]) for move in master().moves if move.sequences]


# -- looking --------------------------------------------------------------------------------------


def everything() -> list[ActivityRow]:
    """All sequences, by name."""
    return [_line(row) for row in sequences.all()]


def get_sequence(name: str) -> Sequence:
    """The sequence. Raises NotFound."""
    row: Sequence | None = Sequence.get_or_none(Sequence.name == name)
    if row is None:
        raise NotFound(f"There is no sequence {name}.", "The list of sequences shows those there are.")
    return row


def view_sequence(name: str) -> SequenceView:
    """What its page shows. Raises NotFound."""
    line = _line(get_sequence(name))
    body = _current(name)
    moves = _plain(body)
    return SequenceView(line, moves, stamp(body), check_sequence(moves))


def version(name: str, number: int) -> SequenceVersion:
    """A version by its number, 0 is the draft. Raises NotFound."""
    found: SequenceVersion | None = SequenceVersion.get_or_none(
        SequenceVersion.sequence == get_sequence(name).name, SequenceVersion.number == number
    )
    if found is None:
        raise NotFound(f"{name} has no {f'version {number}' if number else 'draft'}.", "Its page shows the versions there are.")
    return found


def line(name: str) -> ActivityRow:
    """As in the list. Raises NotFound."""
    return _line(get_sequence(name))


def activities(moves: Moves) -> list[tuple[Spot, dict[str, Any]]]:
    """Every activity with where it stands."""
    return [(Spot(str(place[1]), str(place[2]), int(place[3])), activity) for place, activity in load.activities(moves)]


def free_name(moves: Moves, wanted: str) -> str:
    """The name, or the first of name-2, name-3 ... that no activity has."""
    taken = {activity.get("name") for _, activity in load.activities(moves)}
    return next(name for number in range(1, len(taken) + 3) if (name := wanted if number == 1 else f"{wanted}-{number}") not in taken)


def check_one(moves: Moves, spot: Spot, activity: dict[str, Any], *, new: bool) -> list[Problem]:
    """What would be wrong with an activity, if it stood there."""
    changed = _put(json.loads(json.dumps(moves)), spot, activity, new=new)
    number = len(changed[spot.move][spot.part]) - 1 if new and spot.number < 0 else spot.number
    return [problem for problem in check_sequence(changed) if problem.spot == (spot.move, spot.part, number)]


def check_sequence(moves: Any) -> list[Problem]:
    """All that is wrong with moves, with what is only doubtful last."""
    return load.check_sequence(moves) + load.warnings(moves)


def stamp(body: str) -> str:
    """What tells whether somebody else saved in the meantime."""
    return hashlib.sha256(body.encode()).hexdigest()[:16]


def _line(row: Sequence) -> ActivityRow:
    promoted, draft, shipped = sequences.promoted(row.name), sequences.draft(row.name), sequences.latest_shipped(row.name)
    newer = shipped if shipped and promoted and shipped.number > promoted.number and shipped.body != promoted.body else None
    body = promoted.body if promoted else draft.body if draft else ""
    return ActivityRow(row, sequences.used_by(row.name), promoted, draft, newer, sum(1 for _ in load.activities(_plain(body))))


def _current(name: str) -> str:
    found = sequences.draft(name) or sequences.promoted(name)
    return found.body if found else "{}"


def _plain(body: str) -> Moves:
    found: Moves = json.loads(body) if body else {}
    return found


def _body(moves: Any) -> str:
    """As it is stored: in its one form when it is sound enough to have one, as it was written otherwise."""
    try:
        return sequence.dump({name: sequence.Around.model_validate(around) for name, around in moves.items()})
    except (ValidationError, AttributeError):
        return json.dumps(moves, sort_keys=True, separators=(",", ":"))


# -- what differs ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Change:
    """What became of an activity. `fields` are name, before and after, plain values; None is absent."""

    what: Literal["added", "removed", "moved", "changed"]
    move: str
    part: str
    name: str
    title: str
    fields: tuple[tuple[str, Any, Any], ...] = ()

    def __str__(self) -> str:
        named = ", ".join(name for name, *_ in self.fields)
        return f"{self.title}: {self.what} {self.part} {self.move}" + (f" ({named})" if named else "")


def diff(before: Moves, after: Moves) -> list[Change]:
    """What was done to get from one to the other, in the order of the latter, what is gone first. Activities are known by their names."""
    old, new = _by_name(before), _by_name(after)
    found = [_change("removed", place, activity) for name, (place, activity) in old.items() if name not in new]
    stays = _stays(old, new)
    for name, (place, activity) in new.items():
        if name not in old:
            found.append(_change("added", place, activity))
            continue
        if name not in stays:
            found.append(_change("moved", place, activity))
        fields = tuple(_fields(old[name][1], activity))
        if fields:
            found.append(_change("changed", place, activity, fields))
    return found


def _by_name(moves: Moves) -> dict[str, tuple[Place, dict[str, Any]]]:
    found: dict[str, tuple[Place, dict[str, Any]]] = {}
    for place, activity in load.activities(moves):
        name = str(activity.get("name", ""))
        found[name if name not in found else f"{name} ({'.'.join(map(str, place[1:]))})"] = (place, activity)
    return found


def _stays(old: Mapping[str, tuple[Place, Any]], new: Mapping[str, tuple[Place, Any]]) -> set[str]:
    """The names that are in both, in the same list, and in the same order."""
    before, after = ([(place[1:3], name) for name, (place, _) in side.items()] for side in (old, new))
    blocks = SequenceMatcher(None, before, after, autojunk=False).get_matching_blocks()
    return {name for block in blocks for _, name in before[block.a : block.a + block.size]}


def _fields(before: Mapping[str, Any], after: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, Any, Any]]:
    for key in [*before, *(key for key in after if key not in before)]:
        one, other = before.get(key), after.get(key)
        if one == other:
            continue
        if (isinstance(one, dict) and isinstance(other, dict)) or (prefix == "" and isinstance(one or other, dict)):
            yield from _fields(one or {}, other or {}, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}".removeprefix("with."), one, other


def _change(
    what: Literal["added", "removed", "moved", "changed"], place: Place, activity: Mapping[str, Any], fields: tuple[Any, ...] = ()
) -> Change:
    return Change(what, str(place[1]), str(place[2]), str(activity.get("name", "")), title(activity), fields)


def title(activity: Mapping[str, Any]) -> str:
    """What people read of an activity."""
    known = kind(activity.get("kind"))
    return str(activity.get("title") or (known.title if known else activity.get("name", "")))


# -- changing -------------------------------------------------------------------------------------


def create(actor: Actor, name: str, title: str, about: str = "", *, copy_of: str = "") -> None:
    """A new sequence: a draft, empty or like another one. Raises BadInput, Conflict."""
    _described(name, title, about)
    body = _current(get_sequence(copy_of).name) if copy_of else "{}"
    with catalog.write():
        if Sequence.get_or_none(Sequence.name == name):
            raise Conflict(f"There is a sequence {name} already.", "Choose another name.", field="name")
        Sequence.insert(name=name, title=title, about=about).execute()
        sequences.add(name, body, VersionState.DRAFT, author=actor.name)
        record(EventKind.SEQUENCE_CREATED, f"{actor.name} made the sequence {name}.", actor, object=f"sequence:{name}")


def describe(actor: Actor, name: str, title: str, about: str) -> None:
    """Change what people read of it. Raises BadInput."""
    row = get_sequence(name)
    _described(name, title, about)
    with catalog.write():
        Sequence.update(title=title, about=about).where(Sequence.name == name).execute()
        before, after = {"title": row.title, "about": row.about}, {"title": title, "about": about}
        said = f"{actor.name} described the sequence {name} anew."
        record(EventKind.SEQUENCE_DESCRIBED, said, actor, object=f"sequence:{name}", before=before, after=after)


def _described(name: str, title: str, about: str) -> None:
    try:
        sequence.Sequence(name=name, title=title, description=about)
    except ValidationError as error:
        wrong = error.errors()[0]
        field = str(wrong["loc"][0])
        what = {"name": "The name", "title": "The title", "description": "The description"}[field]
        hint = (
            "A small letter, then small letters, digits, hyphens and underscores, 41 at most." if what == "The name" else wrong["msg"] + "."
        )
        raise BadInput(f"{what} cannot be {wrong['input']!r}.", hint, field=field) from error


def save_draft(actor: Actor, name: str, moves: Moves, seen: str) -> None:
    """Keep these moves as the draft, whatever is wrong with them. `seen` is the stamp of what they were made from.

    Raises Conflict, saying what changed, when somebody else has saved since; nothing is changed then.
    """
    _edit(actor, name, seen, lambda _moves: moves)


def put_sequence(actor: Actor, name: str, seen: str, spot: Spot, activity: dict[str, Any], *, new: bool) -> None:
    """Put an activity in a place of the draft: as a `new` one, before what stands there (last with the number -1), or instead of it.

    Raises as `save_draft`, and NotFound.
    """
    _edit(actor, name, seen, lambda moves: _put(moves, spot, activity, new=new))


def _put(moves: Moves, spot: Spot, activity: dict[str, Any], *, new: bool) -> Moves:
    listed = _list(moves, spot.move, spot.part)
    if new:
        listed.insert(spot.number if spot.number >= 0 else len(listed), activity)
    elif 0 <= spot.number < len(listed):
        listed[spot.number] = activity
    else:
        raise NotFound("There is no such activity.", "Reload the page to see what there is.")
    return moves


def remove(actor: Actor, name: str, seen: str, spot: Spot) -> dict[str, Any]:
    """Take an activity out of the draft; returns it, so that it can be put back. Raises as `save_draft`, and NotFound."""
    taken: list[dict[str, Any]] = []
    _edit(actor, name, seen, lambda moves: _without(moves, spot, taken))
    return taken[0]


def shift(actor: Actor, name: str, seen: str, spot: Spot, to: Spot) -> None:
    """Move an activity of the draft: `to` is where it stands then. Raises as `save_draft`, and NotFound."""

    def change(moves: Moves) -> Moves:
        taken: list[dict[str, Any]] = []
        _without(moves, spot, taken)
        _list(moves, to.move, to.part).insert(max(to.number, 0), taken[0])
        return moves

    _edit(actor, name, seen, change)


def _without(moves: Moves, spot: Spot, taken: list[dict[str, Any]]) -> Moves:
    listed = _list(moves, spot.move, spot.part)
    if not 0 <= spot.number < len(listed):
        raise NotFound("There is no such activity.", "Reload the page to see what there is.")
    taken.append(listed.pop(spot.number))
    return moves


def _list(moves: Moves, move: str, part: str) -> list[dict[str, Any]]:
    around = moves.setdefault(move, {})
    if part not in PARTS or not isinstance(around, dict) or not isinstance(around.setdefault(part, []), list):
        raise BadInput(f"There is no place {part} {move}.", "Reload the page, and put it before or after a move.")
    listed: list[dict[str, Any]] = around[part]
    return listed


def _edit(actor: Actor, name: str, seen: str, change: Callable[[Moves], Moves]) -> None:
    with catalog.write():
        get_sequence(name)
        current = _current(name)
        if seen != stamp(current):
            raise Conflict("Somebody saved another draft in the meantime.", _since(name, seen))
        moves = change(_plain(current))
        body = _body(moves)
        if body == current:
            return
        draft, promoted = sequences.draft(name), sequences.promoted(name)
        if promoted is not None and body == promoted.body:
            if draft is not None:
                draft.delete_instance()
        elif draft is None:
            sequences.add(name, body, VersionState.DRAFT, author=actor.name)
        else:
            SequenceVersion.update(body=body, author=actor.name, created_at=catalog.now()).where(SequenceVersion.id == draft.id).execute()
        changes = [str(change) for change in diff(_plain(current), _plain(body))]
        said = "; ".join(changes[:3]) + (f"; and {len(changes) - 3} more" if len(changes) > 3 else "")
        record(
            EventKind.SEQUENCE_EDITED,
            f"{actor.name} edited the draft of {name}: {said or 'its text'}.",
            actor,
            object=f"sequence:{name}",
            seen=stamp(body),
            changes=changes,
        )


def _since(name: str, seen: str) -> str:
    """What others did since a stamp was given out, in words."""
    done: list[str] = []
    edits = Event.select().where(Event.kind == "sequence.edited", Event.object == f"sequence:{name}").order_by(Event.id.desc()).limit(20)
    for event in edits:
        if event.data.get("seen") == seen:
            break
        done += [f"{event.actor}: {change}" for change in event.data.get("changes", [])]
    told = "; ".join(done[:4])
    return f"{told}. Reload the page, and do yours again." if told else "Reload the page to see it, and do yours again."


def discard_draft(actor: Actor, name: str) -> None:
    """Forget the draft. Raises Conflict when there is none, or nothing would be left."""
    get_sequence(name)
    with catalog.write():
        draft = sequences.draft(name)
        if draft is None:
            raise Conflict(f"{name} has no draft.", "Reload the page to see it as it is.")
        if sequences.promoted(name) is None:
            raise Conflict(f"{name} was never promoted: it is nothing but its draft.", "Delete the sequence instead.")
        draft.delete_instance()
        record(EventKind.SEQUENCE_DISCARDED, f"{actor.name} discarded the draft of {name}.", actor, object=f"sequence:{name}")


def promote(actor: Actor, name: str, comment: str = "", *, seen: str | None = None, untried: bool = False) -> SequenceVersion:
    """Have new runs go by the draft: one that was tried and did well or, on purpose, an `untried` one.

    Raises BadInput with the first thing that is wrong, Conflict when there is nothing to promote or it was not tried.
    """
    get_sequence(name)
    with catalog.write():
        draft = sequences.draft(name)
        if draft is None:
            raise Conflict(f"{name} has no draft.", "Change something first.")
        if seen is not None and seen != stamp(draft.body):
            raise Conflict("Somebody saved another draft in the meantime.", _since(name, seen))
        tried, body = trial(name), draft.body
        if not untried and not load.check_sequence(_plain(body)) and (tried is None or tried.state != "well"):
            what = (
                "was not tried yet" if tried is None else "is still being tried" if tried.state == "going" else "failed when it was tried"
            )
            raise Conflict(
                f"The draft {what}.", "Try it on a machine first, or say that it is to be promoted all the same.", field="untried"
            )
        draft.delete_instance()
        return _promote(actor, name, body, comment, f"{actor.name} promoted a new version of {name}")


def roll_back(actor: Actor, name: str, number: int, comment: str = "") -> SequenceVersion:
    """Have new runs go by an earlier version, or one that was shipped or tried, again: as a new one. The draft stays as it is."""
    wanted = version(name, number)
    with catalog.write():
        if wanted.state in (VersionState.DRAFT, VersionState.PROMOTED):
            raise Conflict(f"Version {number} is what {name} goes by.", "Choose another version.")
        said = f"{actor.name} went to version {number} of {name}"
        return _promote(actor, name, wanted.body, comment or f"Version {number} again", said)


def _promote(actor: Actor, name: str, body: str, comment: str, said: str) -> SequenceVersion:
    wrong = load.check_sequence(_plain(body))
    if wrong:
        others = len(wrong) - 1
        more = f" {others} more {'things are' if others > 1 else 'thing is'} wrong." if others else ""
        where = " ".join(str(part + 1 if isinstance(part, int) else part) for part in wrong[0].spot)
        raise BadInput(f"It cannot be promoted: {where + ': ' if where else ''}{wrong[0].message}.{more}", f"{wrong[0].hint}.")
    before = sequences.promoted(name)
    made = sequences.add(name, body, VersionState.PROMOTED, author=actor.name, comment=comment[:200])
    changes = [str(change) for change in diff(_plain(before.body) if before else {}, _plain(body))]
    record(
        EventKind.SEQUENCE_PROMOTED,
        f"{said}: it is version {made.number}.",
        actor,
        object=f"sequence:{name}",
        comment=comment,
        changes=changes,
    )
    doorbell.ring()
    return made


def delete(actor: Actor, name: str) -> None:
    """Remove a sequence with all versions. Raises Conflict when it is used, was shipped, or runs are kept that went by it."""
    row = get_sequence(name)
    with catalog.write():
        if used := sequences.used_by(name):
            raise Conflict(f"{name} is what machines of {', '.join(used)} follow.", "Give them another sequence first.")
        if row.shipped:
            raise Conflict(f"{name} came with the appliance.", "Leave it: what no class follows does nothing.")
        if sequences.is_remembered(name):
            raise Conflict(f"There are runs that went by {name}.", "It can be deleted when they are forgotten.")
        row.delete_instance()
        record(EventKind.SEQUENCE_DELETED, f"{actor.name} deleted the sequence {name}.", actor, object=f"sequence:{name}")


# -- as a file ------------------------------------------------------------------------------------


def export(name: str, number: int | None = None) -> str:
    """A version, or what the page shows, as its file would have it: YAML."""
    row = get_sequence(name)
    body = _current(name) if number is None else version(name, number).body
    return load.write_sequence(name, row.title, row.about, _plain(body))


def import_file(actor: Actor, content: bytes, *, into: str = "", seen: str = "", name: str = "") -> str:
    """Keep what a file says as the draft of its sequence, which it makes unless it is there; returns the name.

    Raises FileErrors with lines; Conflict for a sequence that is there unless it is `into`; BadInput when the file is not of `name`.
    """
    name = name or into
    found = load.load(Path(f"{name or 'sequence'}.yml"), content)
    if name and found.name != name:
        raise BadInput(
            f"This is the sequence {found.name}, not {name}.", f"Write name: {name}, or import it from the list of sequences.", field="text"
        )
    with catalog.write():
        if not into:
            create(actor, found.name, found.title, found.description)
            seen = stamp(_current(found.name))
        elif (row := get_sequence(into)) and (row.title, row.about) != (found.title, found.description):
            describe(actor, into, found.title, found.description)
        save_draft(actor, found.name, load.plain(found.moves), seen)
    return found.name


# -- trying ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class SequenceTrial:
    """How the trial of a draft stands: `state` is going, ended well or failed."""

    version: SequenceVersion
    machine: Machine | None
    runs: list[Run]
    state: Literal["going", "well", "failed"]


def try_draft(actor: Actor, name: str, class_name: str) -> Request:
    """Ask for a machine of the class that goes by the draft as it is now, all its life. Raises BadInput, Conflict, NotFound."""
    get_sequence(name)
    with catalog.write():
        draft = sequences.draft(name)
        if draft is None:
            raise Conflict(f"{name} has no draft.", "Change something first; what is promoted needs no trial.")
        if wrong := load.check_sequence(_plain(draft.body)):
            raise BadInput(f"It cannot be tried: {wrong[0].message}.", f"{wrong[0].hint}.")
        frozen = sequences.add(name, draft.body, VersionState.TRIAL, author=actor.name, comment=f"Tried on {class_name}")
        record(EventKind.SEQUENCE_TRIED, f"{actor.name} tries the draft of {name} on a {class_name}.", actor, object=f"sequence:{name}")
        return machines.request(actor, class_name, trial_id=frozen.id)


def trial(name: str) -> SequenceTrial | None:
    """The last trial of the draft as it is now; None when it was not tried since it was changed."""
    draft = sequences.draft(name)
    tried: SequenceVersion | None = (
        SequenceVersion.select()
        .where(SequenceVersion.sequence == name, SequenceVersion.state == VersionState.TRIAL)
        .order_by(SequenceVersion.number.desc())
        .first()
    )
    if draft is None or tried is None or tried.body != draft.body:
        return None
    runs = list(Run.select().where(Run.version == tried.id).order_by(Run.id))
    machine: Machine | None = Machine.select().where(Machine.trial == tried.id).order_by(Machine.number.desc()).first()
    if any(run.state in (RunState.FAILED, RunState.CANCELLED, RunState.UNDOING) for run in runs):
        return SequenceTrial(tried, machine, runs, "failed")
    well = bool(runs) and all(run.state is RunState.DONE for run in runs)
    return SequenceTrial(tried, machine, runs, "well" if well else "going")
