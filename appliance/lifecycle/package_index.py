"""The package index of each release, as the catalog sees it: read when somebody asks for it, after a build, and before one that would be refused.

Nothing is fetched by itself: who builds a seed has asked for Debian's packages already.
"""

import shutil
import threading
from contextlib import suppress
from pathlib import Path

from appliance import catalog, packages
from appliance.catalog import ENGINE, EventKind, now, options, package_index, record
from appliance.errors import BadInput, DpeError, Unavailable
from appliance.packages import sources
from appliance.packages.refresh import Job
from appliance.scenario.load import ScenarioErrors, load
from appliance.scenario.schema import ClassSpec
from appliance.settings import Settings, environment

_one_at_a_time = threading.Lock()  # they share a folder


def is_due() -> bool:
    """Whether somebody waits for an index."""
    return bool(package_index.wanted())


def read_wanted(settings: Settings) -> None:
    """Read what is asked for. That it cannot be is said on the page, and by an event."""
    for os in package_index.wanted():
        with suppress(DpeError):
            read(os, settings)


def read(os: str, settings: Settings) -> None:
    """Read the index of a release. Raises Unavailable when the mirror is not reached, BadInput when there is none."""
    file = settings.packages / f"{os}.db"
    with _one_at_a_time:
        work = settings.cache / "apt"
        try:
            _empty(work)
            mirror = sources.mirror(options.chosen(settings).debian_mirror)
            Job(mirror.lines(sources.SUITES[os]), str(file), str(work)).run_aside(environment(settings))
        except (DpeError, OSError) as error:
            refusal = (
                error if isinstance(error, DpeError) else Unavailable(f"The package index cannot be read: {error}.", "Check the disk.")
            )
            with catalog.write():
                package_index.failed(os, refusal.message, refusal.hint)
                record(EventKind.PACKAGES_FAILED, f"{sources.title(os)}: {refusal.message}", ENGINE, hint=refusal.hint)
            raise refusal from error
        finally:
            shutil.rmtree(work, ignore_errors=True)
    with catalog.write():
        package_index.read(os)
        record(EventKind.PACKAGES_READ, f"The package index of {sources.title(os)} was read.", ENGINE)


def _empty(work: Path) -> None:
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)


def after_build(os: str) -> None:
    """Have the index read that a build could have gone by, unless it is of today: the mirror was reached just now."""
    if not packages.is_fresh(os, now()):
        with catalog.write():
            package_index.want(os)


def check(class_name: str, described: ClassSpec, scenario: Path, settings: Settings) -> None:
    """Raise BadInput when a class asks for packages that there are none of, with the lines of the scenario in a folder. An older index is read anew
    before anything is refused by it."""
    if _are_known(described):
        return
    if not packages.is_fresh(described.os, now()):
        with suppress(DpeError):
            read(described.os, settings)
        if _are_known(described):
            return
    try:
        load(scenario, anywhere=True, packages=lambda name, os, package: packages.wrong(os, package) if name == class_name else None)
    except ScenarioErrors as error:
        said = [f"{one.message} ({one.file.name}, line {one.line})" for one in error.errors]
        hints = [f"{one.hint[:1].upper()}{one.hint[1:]}." for one in error.errors]
        raise BadInput(f"{'; '.join(said)}.", " ".join(dict.fromkeys(hints))) from error


def _are_known(described: ClassSpec) -> bool:
    return not any(packages.wrong(described.os, package) for package in described.packages)
