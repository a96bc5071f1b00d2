"""Building, promoting and rolling back seeds."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from appliance import catalog
from appliance.catalog import Actor, Class, EventKind, Seed, SeedState, doorbell, now, options, record, seeds
from appliance.errors import Conflict, NotFound
from appliance.paths import below
from appliance.services import packages
from appliance.settings import Settings


def get_seed(id: int) -> Seed:
    """The seed. Raises NotFound."""
    seed = seeds.by_id(id)
    if seed is None:
        raise NotFound("There is no such seed.")
    return seed


@dataclass(frozen=True)
class PackageChange:
    """A package that is not the same in two seeds: its version in each, and empty where it is not."""

    name: str
    before: str
    after: str

    @property
    def what(self) -> str:
        """added, removed or changed."""
        return "changed" if self.before and self.after else "added" if self.after else "removed"


def packages_of(seed: Seed) -> dict[str, str]:
    """The packages that a seed was built with, and their versions; none are known of one that was not."""
    found = seed.manifest.get("packages") or {}
    if isinstance(found, list):
        return dict((one.get("name", ""), one.get("version", "")) if isinstance(one, dict) else (one, "") for one in found)
    return dict(found)


PICTURE = "screen.png"  # as seeds.seen calls it


def picture(seed: Seed, settings: Settings) -> Path | None:
    """The file with what its machine's desktop showed in the test boot, if there is one."""
    if not (seed.stored and seed.manifest.get("seen", {}).get("picture")):
        return None
    file = below(settings.seeds, seed.class_name, seed.version, PICTURE)
    return file if file.is_file() else None


def compare(before: Seed, after: Seed) -> list[PackageChange]:
    """The packages in which one seed differs from another, by name."""
    one, other = packages_of(before), packages_of(after)
    return [
        PackageChange(name, one.get(name, ""), other.get(name, ""))
        for name in sorted({*one, *other})
        if (name in one, one.get(name)) != (name in other, other.get(name))
    ]


def comparable(seed: Seed) -> list[Seed]:
    """The other seeds of its class whose packages are known, the one before it first, then newest first."""
    others = [other for other in seeds.of_class(seed.class_name) if other.id != seed.id and packages_of(other)]
    before = next((other for other in others if other.version < seed.version), None)
    return others if before is None else [before, *(other for other in others if other is not before)]


def build(class_name: str, actor: Actor) -> Seed:
    """Queue a build of the class's next seed version; the engine does it. Raises Conflict when one is under way, BadInput when the class asks for
    packages that there are none of."""
    with catalog.write():
        packages.check_class(class_name)
        seed = _queue(class_name, actor, {})
    doorbell.ring()
    return seed


def offers() -> dict[str, datetime]:
    """Classes for which a newer seed came with the image, and when that was built."""
    return {name: datetime.fromisoformat(offer["built"]) for name, offer in options.get("offered_seeds").items()}


def use_shipped(class_name: str, actor: Actor) -> Seed:
    """Have the newer seed that came with the image copied and promoted. Raises Conflict when there is none, or a build is under way."""
    with catalog.write():
        offered = options.get("offered_seeds")
        if class_name not in offered:
            raise Conflict(f"No newer seed of {class_name} came with the image.", "Reload the page; build one instead.")
        seed = _queue(class_name, actor, {"shipped": offered.pop(class_name)["folder"]})
        options.put("offered_seeds", offered)
    doorbell.ring()
    return seed


def _queue(class_name: str, actor: Actor, manifest: dict[str, str]) -> Seed:
    """Call it inside `write()`, and ring after that: an engine that looked before would not see it."""
    if Class.get_or_none(Class.name == class_name) is None:
        raise NotFound(f"There is no class {class_name}.")
    if running := seeds.unfinished(class_name):
        raise Conflict(f"Version {running[0].version} of {class_name} is being built already.", "Wait for it, or cancel it.")
    seed = Seed.create(machine_class=class_name, version=seeds.next_version(class_name), manifest=manifest)
    record(
        EventKind.SEED_QUEUED, f"{actor.name} asked for seed {class_name} v{seed.version}.", actor, class_name=class_name, seed_id=seed.id
    )
    return seed


def cancel(id: int, actor: Actor) -> None:
    """Stop a build; the promoted seed stays in use. Raises Conflict when it is not being built."""
    with catalog.write():
        seed = get_seed(id)
        if seed.state is SeedState.QUEUED:
            seed.state, seed.ended_at = SeedState.CANCELLED, now()
        elif seed.state is not SeedState.BUILDING:
            raise Conflict("This seed is not being built.", "Reload the page to see where it stands.")
        seed.cancel = True
        seed.save(only=[Seed.state, Seed.ended_at, Seed.cancel])
        record(
            EventKind.SEED_CANCELLED,
            f"{actor.name} cancelled seed {seed.class_name} v{seed.version}.",
            actor,
            class_name=seed.class_name,
            seed_id=id,
        )
    doorbell.ring()


def promote(id: int, actor: Actor) -> None:
    """Make new machines from this version from now on (forward or back); the buffer is replaced gradually."""
    with catalog.write():
        seed = get_seed(id)
        if seed.state is not SeedState.READY:
            raise Conflict("Only a seed that was built and test-booted can be promoted.", "Build it again.")
        seeds.promote(seed)
        record(
            EventKind.SEED_PROMOTED,
            f"{actor.name} promoted seed {seed.class_name} v{seed.version}.",
            actor,
            class_name=seed.class_name,
            seed_id=id,
        )
    doorbell.ring()


def remove(id: int, actor: Actor) -> None:
    """Delete a seed's files; its row stays, for the machines that were made from it. Raises Conflict while it is of use."""
    with catalog.write():
        seed = get_seed(id)
        if seed.state is not SeedState.READY:
            raise Conflict(f"Seed {seed.class_name} v{seed.version} has no files that could be deleted.")
        if seed.promoted:
            raise Conflict(f"New machines of {seed.class_name} are made from this version.", "Promote another one first.")
        if count := seeds.machines_on(id):
            raise Conflict(f"{count} live machines were made from this version, and need it.", "They go with time; delete it then.")
        Seed.update(state=SeedState.REMOVED).where(Seed.id == id).execute()
        name = f"{seed.class_name} v{seed.version}"
        record(EventKind.SEED_REMOVED, f"{actor.name} deleted the files of seed {name}.", actor, class_name=seed.class_name, seed_id=id)
    doorbell.ring()
