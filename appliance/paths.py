"""Paths made of names that root did not choose: of rows of the catalog, which the web process writes, of backups, and of calls.

Who has taken over the web process can put any text into a name. What root makes, reads or removes by one stays below the folder it belongs to.
"""

import os
from pathlib import Path

from appliance.errors import BadInput

LONGEST = 255  # bytes of a name in a folder
HINT = "It may have been tampered with: see the record of events, and put a good copy of the catalog back."


def below(folder: Path, *names: object) -> Path:
    """The path below `folder` by these names, one for each level. Raises BadInput for a name that is none, such as one with `/` or `..`."""
    for name in map(str, names):
        if not name.isprintable() or "/" in name or name in ("", ".", "..") or len(os.fsencode(name)) > LONGEST:
            raise BadInput(f"{name[:100]!r} cannot be the name of anything in {folder}.", HINT)
    return folder.joinpath(*map(str, names))


def inside(folder: Path, path: str) -> Path:
    """A path that is known as a whole. Raises BadInput for one that is not below `folder`, by plain names."""
    found = Path(path)
    if not found.is_relative_to(folder) or found == folder:
        raise BadInput(f"{path[:200]!r} does not lie in {folder}.", HINT)
    return below(folder, *found.relative_to(folder).parts)
