"""The packages of each Debian release: where they come from, and an index of them to look in. See README.md."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

from appliance.errors import NotFound, Unavailable
from appliance.packages import sources
from appliance.packages.store import Estimate, Found, Index, Package

__all__ = ["Estimate", "Found", "Index", "Package", "index", "is_fresh", "open", "sources", "wrong"]

LIFE = timedelta(days=1)  # after which an index is read anew before anything is refused by it, and after a build
_folder: Path | None = None


def open(folder: Path) -> None:
    """Look in the indexes that lie in this folder from now on; each of them is opened for each question."""
    global _folder
    _folder = folder


@contextmanager
def index(os: str) -> Iterator[Index | None]:
    """The index of a release; None when it was never read. Raises NotFound for what is no release, Unavailable when it cannot be used."""
    if os not in sources.SUITES:
        raise NotFound(f"There is no release {os[:40]!r}.", f"The releases are: {', '.join(sources.SUITES)}.")
    file = _folder / f"{os}.db" if _folder else None
    if file is None or not file.is_file():
        yield None
        return
    found = Index(file)
    try:
        yield found
    finally:
        found.close()


def is_fresh(os: str, at: datetime) -> bool:
    """Whether the index of a release says what the mirror has."""
    try:
        with index(os) as found:
            return found is not None and timedelta(0) <= at - found.read_at < LIFE
    except Unavailable:
        return False


def wrong(os: str, name: str) -> tuple[str, str] | None:
    """What is wrong with the name of a package, and what to write instead; None for one that can be installed, and where there is no index to say so."""
    try:
        with index(os) as found:
            if found is None or found.installs(name):
                return None
            if providers := found.providers(name):
                return f"{name} is what several packages of {sources.title(os)} provide", f"write one of them: {', '.join(providers[:5])}"
            near = found.near(name)
            hint = f"write {' or '.join(near)}" if near else "look for it on the page Packages"
            return f"{sources.title(os)} has no package {name}", f"{hint} (the index is of {found.read_at:%Y-%m-%d})"
    except (NotFound, Unavailable):
        return None
