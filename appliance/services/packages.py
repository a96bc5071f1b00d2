"""Debian packages: looked up by release, what they bring, whether a class's are there, and what can be built without the mirror."""

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

from appliance import catalog, packages
from appliance.catalog import Actor, EventKind, doorbell, now, options, package_index, record
from appliance.catalog.package_index import Standing
from appliance.errors import BadInput, DpeError, NotFound, Unavailable
from appliance.packages import Estimate, Found, Package, sources
from appliance.services import classes
from appliance.settings import Settings

LONGEST = 100  # characters that are looked for
LONGEST_NAME = 200


@dataclass(frozen=True)
class Release:
    """A release, and the index of its packages: how many there are, when it was read and from where; `count` is 0 while there is none, or none that can be used."""

    os: str
    title: str
    standing: Standing
    count: int = 0
    read_at: datetime | None = None
    mirror: str = ""


@dataclass(frozen=True)
class Brought:
    """A package, and what it brings besides what every seed has."""

    package: Package
    estimate: Estimate


@dataclass(frozen=True)
class Detail:
    """All there is about a package; `classes` are those of whose recipe it is."""

    package: Package
    description: str
    estimate: Estimate
    classes: list[str]


@dataclass(frozen=True)
class Buildable:
    """A class, and what a build of it has here: `kept_until`, the end of the days for which its packages are kept; `shipped`, a newer seed that came with the image."""

    name: str
    title: str
    kept_until: datetime | None
    shipped: bool


# -- looking up ----------------------------------------------------------------------------------------


def releases() -> list[Release]:
    """All releases that seeds are built from, the newest first."""
    return [release(os) for os in sorted(sources.SUITES, reverse=True)]


def release(os: str) -> Release:
    """One of them. Raises NotFound."""
    count, read_at, mirror = 0, None, ""
    with suppress(Unavailable), packages.index(os) as index:  # one that is damaged is as good as none
        if index is not None:
            count, read_at, mirror = index.count, index.read_at, index.mirror
    return Release(os, sources.title(os), package_index.of(os), count, read_at, mirror)


def search(os: str, text: str, limit: int = 20) -> tuple[int, list[Brought]]:
    """How many packages of a release a text finds, and the best, with what each brings. Raises NotFound, Unavailable; Unavailable also while there is no index."""
    with packages.index(os) as index:
        if index is None:
            raise _unread(os)
        found = index.search(text[:LONGEST], limit)
        return found.total, [Brought(one, index.bring([one.name])) for one in found.packages]


def offers(os: str, text: str, limit: int = 6) -> Found:
    """The same without what they bring, for a field while somebody types; nothing where there is no index."""
    try:
        with packages.index(os) as index:
            return index.search(text[:LONGEST], limit) if index else Found(0, ())
    except DpeError:
        return Found(0, ())


def detail(os: str, name: str) -> Detail:
    """A package of a release. Raises NotFound, with what is called nearly so; Unavailable."""
    name = name[:LONGEST_NAME]
    with packages.index(os) as index:
        if index is None:
            raise _unread(os)
        package = index.package(name)
        if package is None:
            near = index.providers(name) or index.near(name)
            raise NotFound(
                f"{sources.title(os)} has no package {name}.", f"Did you mean {' or '.join(near[:5])}?" if near else "Check the name."
            )
        using = [one.name for one in classes.everything() if one.spec["os"] == os and package.name in one.spec.get("packages", ())]
        return Detail(package, index.description(package.name), index.bring([package.name]), using)


def estimate(os: str, names: Iterable[str]) -> Estimate | None:
    """What packages bring together besides what every seed has; None where there is no index. Raises NotFound for what is no release, Unavailable."""
    with packages.index(os) as index:
        return index.bring(names) if index else None


def _unread(os: str) -> Unavailable:
    return Unavailable(f"The package index of {sources.title(os)} was not read yet.", "Refresh it on the page Packages, or build a seed.")


# -- whether they are there ----------------------------------------------------------------------------


def names(class_name: str, os: str, package: str) -> tuple[str, str] | None:
    """As scenario.load has it: what is wrong with the name of a class's package, and what to write instead.

    What the class has already may stay: Debian may have dropped it since, and that must not keep anybody from changing something else.
    """
    said = packages.wrong(os, package)
    found = catalog.Class.get_or_none(catalog.Class.name == class_name) if said else None
    return None if found and found.spec["os"] == os and package in found.spec.get("packages", ()) else said


def check_class(name: str) -> None:
    """Raise BadInput when a class's packages are not in the index of its release, if that is of today: the engine reads an older one anew first."""
    found = catalog.Class.get_or_none(catalog.Class.name == name)
    if found is None or not packages.is_fresh(found.spec["os"], now()):
        return
    said = [wrong for package in found.spec.get("packages", ()) if (wrong := packages.wrong(found.spec["os"], package))]
    if said:
        hints = " ".join(f"{hint[:1].upper()}{hint[1:]}." for _, hint in said)
        raise BadInput(f"{'; '.join(message for message, _ in said)}.", f"{hints} Change `packages` of {name} in the scenario.")


def refresh(actor: Actor, os: str) -> None:
    """Have the engine read the index of a release anew from the mirror. Raises NotFound."""
    standing = release(os).standing
    if not standing.wanted:
        with catalog.write():
            package_index.want(os, actor.name)
            record(EventKind.PACKAGES_ASKED, f"{actor.name} has the package index of {sources.title(os)} read anew.", actor)
    doorbell.ring()


# -- without the mirror --------------------------------------------------------------------------------


def buildable(actor: Actor, settings: Settings) -> list[Buildable]:
    """For each class whose seeds the actor may see: what a build would find here. Roles may still ask for more."""
    offered, at = options.get("offered_seeds"), now()
    try:
        mirror = sources.mirror(options.chosen(settings).debian_mirror)
    except BadInput:
        mirror = None
    found = []
    for one in classes.visible(actor, "seeds.read"):
        os, kept = one.spec["os"], False
        if mirror is not None and os in sources.SUITES:
            wanted = sources.wanted(one.spec.get("packages", ()))
            with suppress(OSError):
                kept = sources.bootstrap(settings.cache, os, mirror.lines(sources.SUITES[os]), wanted, at).is_file()
        found.append(Buildable(one.name, one.spec["title"], _end_of_week(at) if kept else None, one.name in offered))
    return found


def _end_of_week(at: datetime) -> datetime:
    """When what is kept of a week is no longer used: weeks are those of UTC, as in the name of what is kept."""
    monday = (at - timedelta(days=at.weekday())).replace(hour=0, minute=0, second=0, microsecond=0)
    return monday + timedelta(days=7)
