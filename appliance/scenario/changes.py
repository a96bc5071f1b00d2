"""What differs between two scenarios: which classes and in what, and which lines of which files."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any, Literal, NamedTuple

from appliance.scenario import policy
from appliance.scenario.policy import Form
from appliance.scenario.schema import ClassSpec, Scenario
from appliance.scenario.tree import MAIN, File, Tree

AROUND = 3  # lines that are shown around what is other
LINES = 3000  # of a file, beyond which it is not compared line by line
SHOWN = 4000  # lines of all files
WIDE = 2000  # characters of a line
ROLES = "roles/"
APPLICATIONS = "applications/"

Effect = Literal["new", "withdrawn", "seed", "machines", "now"]


@dataclass(frozen=True)
class ClassChange:
    """What becomes of a class. `seed`: its seed is made from something else; `machines`: those that are made from now on are other ones;
    `now`: it holds at once. Only for the first a seed is built.

    `keys` are what differs in scenario.yml, with points between names.
    """

    name: str
    title: str
    effect: Effect
    keys: tuple[str, ...] = ()
    roles: bool = False

    @property
    def is_built(self) -> bool:
        """Whether it takes a seed that there is none of yet."""
        return self.effect in ("new", "seed")

    @property
    def kinds(self) -> list[tuple[Effect, tuple[str, ...]]]:
        """Which of the keys act in which way."""
        if self.effect in ("new", "withdrawn"):
            return [(self.effect, ())]
        found: dict[Effect, tuple[str, ...]] = {"seed": ("roles/",) if self.roles else (), "machines": (), "now": ()}
        for key in self.keys:
            found[_effect_of(key)] += (key,)
        return [(effect, keys) for effect, keys in found.items() if keys]


def _effect_of(key: str) -> Effect:
    """What a key of a class acts on: as the seed's recipe has it, and the forms of its policy."""
    if key.partition(".")[0] in ClassSpec.INGREDIENTS or key.startswith(APPLICATIONS):
        return "seed"
    making = {".".join(field.path) for field in policy.fields().values() if field.editable.form is Form.MAKING}
    return "machines" if key in making else "now"


def classes(before: Scenario | None, after: Scenario, *, roles: bool, applications: Collection[str] = ()) -> list[ClassChange]:
    """The classes that differ; `roles`: whether anything below roles/ does, which every seed's recipe takes in as a whole;
    `applications`: which of those that the scenario brings do."""
    old, found = before.classes if before else {}, []
    for name, spec in after.classes.items():
        was = old.get(name)
        mine = _of_these(spec, applications)
        keys = tuple(_differing(was.model_dump(mode="json"), spec.model_dump(mode="json"))) if was else ()
        if was is None:
            found.append(ClassChange(name, spec.title, "new"))
        elif roles or _is_other_seed(was, spec) or mine:
            found.append(ClassChange(name, spec.title, "seed", (*keys, *mine), roles))
        elif keys:
            found.append(ClassChange(name, spec.title, "machines" if {_effect_of(key) for key in keys} == {"machines"} else "now", keys))
    return found + [ClassChange(name, spec.title, "withdrawn") for name, spec in old.items() if name not in after.classes]


def _is_other_seed(before: ClassSpec, after: ClassSpec) -> bool:
    return before.ingredients() != after.ingredients()


def _of_these(spec: ClassSpec, applications: Collection[str]) -> tuple[str, ...]:
    """As keys, those of these applications that the class has."""
    return tuple(f"{APPLICATIONS}{one.name}" for one in spec.applications if one.name in applications)


def applications_differ(before: Tree, after: Tree) -> set[str]:
    """The applications that a scenario brings whose files differ; one that can be run makes no other seed."""
    digests = (
        {(path, file.digest) for path, file in tree.items() if path.startswith(APPLICATIONS) and path.count("/") > 1}
        for tree in (before, after)
    )
    one, other = digests
    return {path.split("/")[1] for path, _ in one ^ other}


def roles_differ(before: Tree, after: Tree) -> bool:
    """Whether any role's files do; that one can be run makes no other seed."""
    one, other = ({path: file.digest for path, file in tree.items() if path.startswith(ROLES)} for tree in (before, after))
    return one != other


def _differing(before: Mapping[str, Any], after: Mapping[str, Any], above: str = "") -> Iterator[str]:
    for key in [*after, *(key for key in before if key not in after)]:
        one, other = before.get(key), after.get(key)
        if isinstance(one, dict) and isinstance(other, dict):
            yield from _differing(one, other, f"{above}{key}.")
        elif one != other:
            yield f"{above}{key}"


def in_one_line(changed: list[ClassChange], files: "list[FileChange]") -> str:
    """All of it in a line for a list."""
    said = [
        f"{one.name}: {one.effect}" if one.effect in ("new", "withdrawn") else f"{one.name}: {', '.join(one.keys)}"
        for one in changed
        if one.keys or one.effect in ("new", "withdrawn")
    ]
    others = [one.path for one in files if one.path != MAIN or not said]
    said += others[:2] + ([f"{len(others) - 2} more files"] if len(others) > 2 else [])
    line = "; ".join(said) or "nothing"
    return line if len(line) <= 300 else line[:299] + "…"


class Line(NamedTuple):
    """A line of a comparison: what it is, its numbers before and after (0 where it is not), and its text."""

    what: Literal["same", "added", "removed", "gap"]
    before: int
    after: int
    text: str = ""


@dataclass(frozen=True)
class FileChange:
    """What became of a file. `why` says why no lines are shown."""

    path: str
    what: Literal["added", "removed", "changed"]
    lines: tuple[Line, ...] = ()
    why: str = ""


def files(before: Tree, after: Tree) -> list[FileChange]:
    """The files that differ, scenario.yml first."""
    found, left = list[FileChange](), SHOWN
    for path in sorted({*before, *after}, key=lambda path: (path != MAIN, path)):
        old, new = before.get(path), after.get(path)
        if old == new:
            continue
        what: Literal["added", "removed", "changed"] = "added" if old is None else "removed" if new is None else "changed"
        one = _compared(path, what, old, new) if left > 0 else FileChange(path, what, why="There is too much to show here.")
        left -= len(one.lines)
        found.append(one)
    return found


def _compared(path: str, what: Literal["added", "removed", "changed"], old: File | None, new: File | None) -> FileChange:
    try:
        one, other = (file.content.decode().splitlines() if file else [] for file in (old, new))
    except UnicodeDecodeError:
        return FileChange(path, what, why="It is no text.")
    if max(len(one), len(other)) > LINES:
        return FileChange(path, what, why=f"It has more than {LINES} lines.")
    why = ""
    if old and new and old.executable != new.executable:
        why = "It can be run now." if new.executable else "It cannot be run any more."
    return FileChange(path, what, tuple(_lines(one, other)), why)


def _lines(one: list[str], other: list[str]) -> Iterator[Line]:
    for number, group in enumerate(SequenceMatcher(None, one, other).get_grouped_opcodes(AROUND)):
        if number:
            yield Line("gap", 0, 0)
        for tag, begin, end, start, stop in group:
            if tag == "equal":
                yield from (Line("same", begin + at + 1, start + at + 1, text[:WIDE]) for at, text in enumerate(one[begin:end]))
                continue
            yield from (Line("removed", at, 0, text[:WIDE]) for at, text in enumerate(one[begin:end], begin + 1))
            yield from (Line("added", 0, at, text[:WIDE]) for at, text in enumerate(other[start:stop], start + 1))
