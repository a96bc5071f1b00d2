"""The disks: what takes the room and can go, a second disk for the data, factory reset. What root has to do, `dpe-host` does."""

from dataclasses import dataclass

from appliance import catalog
from appliance.catalog import Actor, EventKind, Seed, record, seeds
from appliance.errors import BadInput, Conflict
from appliance.host.disks import ballast
from appliance.host.disks.ballast import Room
from appliance.host.disks.inventory import PARTS, known_health
from appliance.host.interface import disks
from appliance.host.interface.disks import Disk
from appliance.host.rpc.client import Client
from appliance.services import overview
from appliance.settings import Settings

# Of each part that somebody can do something about: what, and on which page.
ADVICE = {
    "seeds": ("Delete versions that no machine needs.", "seeds.index"),
    "machines": ("Machines that are given back take nothing.", "machines.index"),
    "libvirt": ("Goes when those machines are resumed or given back.", "machines.index"),
    "data": ("Delete those that nobody needs any more.", "data_disks.index"),
    "kept": ("They go by themselves after some days, or sooner if you like.", "data_disks.kept"),
    "backups": ("How many are kept, and where, is one of the settings.", "recovery.index"),
    "cache": ("Can go at any time; the next build fetches anew.", ""),
}
OTHER = "Everything else on this disk"


@dataclass(frozen=True)
class StorageShare:
    """What takes room, in bytes. `advice` says what can be done about it, at the page `endpoint`."""

    name: str
    words: str
    size: int
    advice: str
    endpoint: str


@dataclass(frozen=True)
class Storage:
    """All of the page. `room` is of the file system with the state; `missing` says when the second disk does not answer."""

    room: Room
    parts: list[StorageShare]
    disks: list[Disk]
    unused: list[tuple[Seed, int]]
    is_image: bool
    missing: str


def room(settings: Settings) -> Room | None:
    """How full the disk is; None where that cannot be told."""
    try:
        return ballast.room(settings)
    except OSError:
        return None


def failing(settings: Settings) -> list[str]:
    """The disks that begin to fail, a sentence each."""
    return [f"{one['name']}: {one['health']}" for one in known_health(settings).values() if one.get("healthy") is False]


def read_storage(settings: Settings) -> Storage:
    """Raises Unavailable while dpe-host does not answer."""
    found = Client(settings).call(disks.STORAGE)
    parts = [StorageShare(name, words, found.sizes[name], *ADVICE.get(name, ("", ""))) for name, words in PARTS.items()]
    other = found.total - found.free - sum(part.size for part in parts)
    parts = [
        *sorted((part for part in parts if part.size), key=lambda part: -part.size),
        StorageShare("other", OTHER, max(0, other), "", ""),
    ]
    unused = [(seed, found.seeds.get(f"{seed.class_name}/{seed.version}", 0)) for seed in seeds.unused()]
    return Storage(
        Room(found.total, found.free, found.full),
        parts,
        found.disks,
        unused,
        found.image,
        found.missing,
    )


def clean(actor: Actor, settings: Settings) -> int:
    """Delete the downloads for building seeds; returns the bytes that are free now. Raises Conflict while one is built."""
    if seeds.unfinished():
        raise Conflict("A seed is being built, and needs them.", "Wait for it, or stop the build.")
    freed = Client(settings, actor.name).call(disks.CLEAN)
    with catalog.write():
        record(EventKind.STORAGE_CLEANED, f"{actor.name} deleted the downloads for building seeds.", actor)
    return freed


def use(actor: Actor, settings: Settings, disk: str, typed: str) -> str:
    """Give a second disk to data; returns the operation. Raises what dpe-host refuses."""
    operation = Client(settings, actor.name).begin(disks.USE, disks.Use(disk=disk, typed=typed))
    with catalog.write():
        record(EventKind.STORAGE_USE, f"{actor.name} gives the disk {disk} to data.", actor)
    return operation


def reset(actor: Actor, settings: Settings, typed: str, *, thorough: bool) -> None:
    """Factory reset: `typed` is the appliance's title. Raises BadInput when it is another."""
    title = overview.title()
    if " ".join(typed.split()) != " ".join(title.split()):
        raise BadInput("That is not the name of this appliance; nothing is erased.", f"To erase everything, type {title}.", field="typed")
    Client(settings, actor.name).call(disks.RESET, disks.Reset(thorough=thorough))
