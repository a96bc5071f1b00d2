"""The scenario's versions, and the current one as files for Ansible, below the state directory.

A folder there is called like the digest of what is in it, and comes to its name by one rename: it is whole, or not there.
"""

import hashlib
import json
import os
import shutil
import threading
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from appliance import durable
from appliance.catalog import database
from appliance.catalog.database import rows
from appliance.catalog.models import ScenarioFile, ScenarioState, ScenarioVersion
from appliance.errors import BadInput, Unavailable
from appliance.paths import below
from appliance.scenario import applications
from appliance.scenario import tree as trees
from appliance.scenario.applications import Entry
from appliance.scenario.tree import File, Listing, Tree
from appliance.settings import Settings

VERSIONS = 200  # that are kept
BYTES = 128 << 20  # of all their files
DAMAGED = "Put a good copy of the catalog back, or import the scenario anew."
_laying = threading.Lock()


def current() -> ScenarioVersion | None:
    """The version that counts; None before the first start."""
    return in_state(ScenarioState.CURRENT)


def in_state(state: ScenarioState) -> ScenarioVersion | None:
    """The one in this state, of those that only one has."""
    found: ScenarioVersion | None = ScenarioVersion.get_or_none(ScenarioVersion.state == state)
    return found


def numbered(number: int) -> ScenarioVersion | None:
    """The version of that number."""
    found: ScenarioVersion | None = ScenarioVersion.get_or_none(ScenarioVersion.number == number, ScenarioVersion.number > 0)
    return found


def preceding(number: int) -> ScenarioVersion | None:
    """The version before that number, of those that are kept."""
    earlier = ScenarioVersion.select().where(ScenarioVersion.number.between(1, number - 1))
    found: ScenarioVersion | None = earlier.order_by(ScenarioVersion.number.desc()).first()
    return found


def versions() -> list[ScenarioVersion]:
    """All versions without their trees, newest first."""
    left_out = (ScenarioVersion.tree, ScenarioVersion.base)
    fields = [field for field in ScenarioVersion._meta.sorted_fields if field not in left_out]
    return list(ScenarioVersion.select(*fields).where(ScenarioVersion.number > 0).order_by(ScenarioVersion.number.desc()))


def digest() -> str:
    """Of the current version's tree; empty without one."""
    found = rows("SELECT digest FROM scenario_version WHERE state = 'current'")
    return found[0][0] if found else ""


def number() -> int:
    """Of the current version; 0 without one."""
    found = rows("SELECT number FROM scenario_version WHERE state = 'current'")
    return int(found[0][0]) if found else 0


def read(listed: Listing) -> Tree:
    """The files of a tree. Raises Unavailable when the catalog does not have them as they were."""
    found: dict[str, File] = {}
    wanted = json.dumps(sorted({str(one[0]) for one in listed.values()}))
    sql = "SELECT digest, content FROM scenario_file WHERE digest IN (SELECT value FROM json_each(?))"
    contents = {name: bytes(content) for name, content in rows(sql, (wanted,))}
    for path, (name, executable) in listed.items():
        content = contents.get(name)
        if content is None or hashlib.sha256(content).hexdigest() != name:
            raise Unavailable(f"{path} of the scenario is missing or damaged in the catalog.", DAMAGED)
        found[path] = File(content, bool(executable))
    trees.check_paths(found)
    return found


def own_applications() -> Mapping[str, Entry]:
    """The applications that the current version brings, by name; those that this version of the appliance cannot use are left out."""
    name = database.is_there() and digest()  # a build by hand, as a test is one, has no catalog
    return _own(name) if name else {}


@lru_cache(maxsize=4)
def _own(digest: str) -> Mapping[str, Entry]:
    """Of the version with that digest, which stands for all its files."""
    version = ScenarioVersion.select().where(ScenarioVersion.digest == digest).first()
    listed = {path: one for path, one in version.tree.items() if path.startswith(f"{applications.OWN}/")} if version else {}
    return trees.entries(read(listed)) if listed else {}


def put(tree: Tree, state: ScenarioState, base: Listing, *, author: str = "", comment: str = "", changes: str = "") -> ScenarioVersion:
    """A tree in that state, in place of what is in it; call it inside `write()`. A current one becomes the next version."""
    for file in tree.values():
        ScenarioFile.insert(digest=file.digest, content=file.content).on_conflict_ignore().execute()
    number = 0
    if state is ScenarioState.CURRENT:
        number = (rows("SELECT max(number) FROM scenario_version")[0][0] or 0) + 1
        ScenarioVersion.update(state=ScenarioState.KEPT).where(ScenarioVersion.state == state).execute()
    else:
        drop(state)
    listed = trees.listing(tree)
    made: ScenarioVersion = ScenarioVersion.create(
        number=number, state=state, tree=listed, digest=trees.digest(listed), base=base, author=author, comment=comment, changes=changes
    )
    _prune()
    return made


def drop(state: ScenarioState) -> None:
    """Forget what is in that state; call it inside `write()`."""
    ScenarioVersion.delete().where(ScenarioVersion.state == state).execute()


_UNUSED = """
    DELETE FROM scenario_file WHERE digest NOT IN (
        SELECT json_extract(one.value, '$[0]') FROM scenario_version AS version, json_each(version.tree) AS one
        UNION SELECT json_extract(one.value, '$[0]') FROM scenario_version AS version, json_each(version.base) AS one)
"""


def _prune() -> None:
    """Forget the oldest versions when they are many, or large, and files that nothing has any more."""
    ScenarioVersion.delete().where(
        ScenarioVersion.state == ScenarioState.KEPT,
        ScenarioVersion.number <= (rows("SELECT max(number) FROM scenario_version")[0][0] or 0) - VERSIONS,
    ).execute()
    rows(_UNUSED)
    while (rows("SELECT total(length(content)) FROM scenario_file")[0][0]) > BYTES:
        oldest = rows("SELECT id FROM scenario_version WHERE state = 'kept' ORDER BY number LIMIT 1")
        if not oldest:
            return
        ScenarioVersion.delete().where(ScenarioVersion.id == oldest[0][0]).execute()
        rows(_UNUSED)


# -- for Ansible ----------------------------------------------------------------------------------


def has(path: str, settings: Settings) -> bool:
    """Whether the current version has this file; before there is one, the folder that it comes from."""
    if not digest():
        return (settings.scenario / path).is_file()
    sql = "SELECT 1 FROM scenario_version AS version, json_each(version.tree) AS one WHERE version.state = 'current' AND one.key = ?"
    return bool(rows(sql, (path,)))


def folder(settings: Settings) -> Path:
    """Where the current version lies, or will; before there is one, the folder that it comes from. Raises BadInput."""
    name = digest()
    return below(settings.scenarios, name) if name else settings.scenario


def lay_out(settings: Settings) -> Path:
    """The same, with everything there. May be cut off anywhere, and is done by the engine alone. Raises OSError, Unavailable."""
    with _laying:
        there = folder(settings)
        if there.is_dir() or there == settings.scenario:
            return there
        version = current()
        if version is None or version.digest != there.name or trees.digest(version.tree) != there.name:
            raise Unavailable("The scenario in the catalog is not what it says that it is.", DAMAGED)
        fresh = there.with_name(f".{there.name}.new")
        shutil.rmtree(fresh, ignore_errors=True)  # of one that was cut off
        fresh.mkdir(mode=0o755, parents=True)
        try:
            trees.write(read(version.tree), fresh)
            os.sync()
            durable.replace(fresh, there)
        except (OSError, BadInput):
            shutil.rmtree(fresh, ignore_errors=True)
            raise
    return there


def tidy(settings: Settings) -> None:
    """Remove what is not the current version. Call it when no job that may have begun with another one is under way."""
    with _laying:
        there = folder(settings)
        for other in settings.scenarios.iterdir() if settings.scenarios.is_dir() else ():
            if other != there:
                shutil.rmtree(other, ignore_errors=True)
