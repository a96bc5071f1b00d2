"""A newer scenario brought together with a changed one: three ways, file by file, and scenario.yml key by key.

What only one side changed is taken from it. What both changed, each in its own way, is a conflict: somebody chooses. An application that
both came to under one name is chosen as a whole, since the files of two make none. The
text that is kept is ours, with its comments and quotes; what is written anew in it is indented by two.
"""

import io
import json
from collections.abc import Iterable, Mapping, MutableMapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap
from ruamel.yaml.error import YAMLError

from appliance.scenario import applications
from appliance.scenario.tree import MAIN, File, Tree

Side = Literal["ours", "theirs"]
SHOWN = 20_000  # characters of a side
_NO_TEXT = "This is no text."
_ABSENT = object()


@dataclass(frozen=True)
class Conflict:
    """What both sides changed: `place` is a file or, in scenario.yml, a key. The sides are text; None is not there."""

    place: str
    base: str | None
    ours: str | None
    theirs: str | None
    is_text: bool = True
    chosen: Side | None = None


@dataclass(frozen=True)
class Merged:
    """The outcome. Where a conflict has no choice yet the tree has what is ours."""

    tree: Tree
    conflicts: tuple[Conflict, ...]


def merge(base: Tree, ours: Tree, theirs: Tree, choices: Mapping[str, Side]) -> Merged:
    """Bring both together; `choices` are by the place of a conflict."""
    tree: dict[str, File] = {}
    conflicts: list[Conflict] = []
    apart = dict[str, Tree]()  # the side that each application of two origins is taken from
    for above in sorted(_applications(ours) & _applications(theirs) - _applications(base)):
        if _below(above, ours) != _below(above, theirs):
            chosen = choices.get(above)
            conflicts.append(Conflict(above, None, _about(above, ours), _about(above, theirs), chosen=chosen))
            apart[above] = theirs if chosen == "theirs" else ours
    for above, side in apart.items():
        tree |= _below(above, side)
    for path in sorted({*base, *ours, *theirs}):
        if _application(path) in apart:
            continue
        was, mine, new = base.get(path), ours.get(path), theirs.get(path)
        taken = mine if new in (was, mine) else new if mine == was else _both(path, was, mine, new, choices, conflicts)
        if taken is not None:
            tree[path] = taken
    return Merged(tree, tuple(conflicts))


def _application(path: str) -> str:
    """The folder of the application that a file belongs to; empty for any other file."""
    parts = path.split("/")
    return "/".join(parts[:2]) if parts[0] == applications.OWN and len(parts) > 2 else ""


def _applications(files: Iterable[str]) -> set[str]:
    return {above for above in map(_application, files) if above}


def _below(above: str, files: Tree) -> Tree:
    return {path: file for path, file in files.items() if _application(path) == above}


def _about(above: str, files: Tree) -> str:
    """What it says of itself, and which files it has."""
    names = sorted(path.removeprefix(f"{above}/") for path in _below(above, files))
    return f"{_text(files.get(f'{above}/{applications.MAIN}')) or ''}\n# {', '.join(names)}"[:SHOWN]


def _both(
    path: str, base: File | None, ours: File | None, theirs: File | None, choices: Mapping[str, Side], conflicts: list[Conflict]
) -> File | None:
    """A file that both sides changed."""
    if path == MAIN and base is not None and ours is not None and theirs is not None:
        try:
            return _merge_yaml(base, ours, theirs, choices, conflicts)
        except (YAMLError, RecursionError, ValueError, TypeError):
            pass  # one of them was written for another reader: it is chosen as a whole
    was, mine, new = _text(base), _text(ours), _text(theirs)
    chosen = choices.get(path)
    conflicts.append(Conflict(path, was, mine, new, is_text=_NO_TEXT not in (was, mine, new), chosen=chosen))
    return theirs if chosen == "theirs" else ours


def _text(file: File | None) -> str | None:
    if file is None:
        return None
    try:
        return file.content.decode()[:SHOWN] + ("\n(it can be run)" if file.executable else "")
    except UnicodeDecodeError:
        return _NO_TEXT


def writer() -> YAML:
    """Reads and writes with comments and quotes as they are."""
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 4096  # no line is broken that was not
    return yaml


def _merge_yaml(base: File, ours: File, theirs: File, choices: Mapping[str, Side], conflicts: list[Conflict]) -> File:
    read = [writer().load(file.content) for file in (base, ours, theirs)]
    if not all(isinstance(one, CommentedMap) for one in read):
        raise ValueError("no mapping")
    found: list[Conflict] = []
    mine = read[1]
    changed = _merge_maps(read[0], mine, read[2], (), choices, found)
    conflicts += found
    if not changed:
        return ours
    out = io.BytesIO()
    writer().dump(mine, out)
    return replace(ours, content=out.getvalue())


def _merge_maps(
    base: Mapping[Any, Any],
    ours: MutableMapping[Any, Any],
    theirs: Mapping[Any, Any],
    above: tuple[str, ...],
    choices: Mapping[str, Side],
    conflicts: list[Conflict],
) -> bool:
    """Bring into `ours` what is new in `theirs`; whether anything was."""
    changed = False
    for key in [*theirs, *(key for key in {**base, **ours} if key not in theirs)]:
        was, mine, new = (side.get(key, _ABSENT) for side in (base, ours, theirs))
        if _same(new, was) or _same(new, mine):
            continue
        place = (*above, str(key))
        if not _same(mine, was):
            if isinstance(mine, MutableMapping) and isinstance(new, Mapping):
                inner = was if isinstance(was, Mapping) else {}
                changed |= _merge_maps(inner, mine, new, place, choices, conflicts)
                continue
            conflict = Conflict(f"{MAIN}: {'.'.join(place)}", _shown(was), _shown(mine), _shown(new))
            conflict = replace(conflict, chosen=choices.get(conflict.place))
            conflicts.append(conflict)
            if conflict.chosen != "theirs":
                continue
        if new is _ABSENT:
            del ours[key]
        elif mine is _ABSENT and isinstance(ours, CommentedMap):
            ours.insert(position(list(theirs), list(ours), key), key, new)
        else:
            ours[key] = new
        changed = True
    return changed


def position(theirs: list[Any], ours: list[Any], key: Any) -> int:
    """Where a key belongs that ours does not have: behind the nearest one before it that it has."""
    for before in reversed(theirs[: theirs.index(key)]):
        if before in ours:
            return ours.index(before) + 1
    return 0


def _same(one: Any, other: Any) -> bool:
    if one is _ABSENT or other is _ABSENT:
        return one is other
    return _plain(one) == _plain(other)


def _plain(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=str)


def _shown(value: Any) -> str | None:
    if value is _ABSENT:
        return None
    out = io.StringIO()
    writer().dump(value, out)
    return out.getvalue().removesuffix("...\n").rstrip("\n")[:SHOWN]
