"""The disks of this server: what is on them, what takes the room, giving a second one to data, and erasing them all."""

from types import NoneType

from pydantic.dataclasses import dataclass

from appliance.host.rpc.verb import Arguments, LongVerb, Nothing, Result, Verb


@dataclass(frozen=True)
class Disk:
    """A whole disk. `use` is system, data, other (in use by something else), empty or foreign; `refusal` says why it cannot be given to data.

    `healthy` is None where the disk cannot tell; `health` says it in words. `size` is bytes.
    """

    path: str
    name: str
    serial: str
    size: int
    use: str
    holds: list[str]
    refusal: str = ""
    healthy: bool | None = None
    health: str = ""


class Storage(Result):
    """Bytes of the file system with the state: `sizes` by folder, `seeds` by class/version; `missing` says when the second disk does not answer."""

    image: bool
    total: int
    free: int
    full: bool
    kept_back: int
    sizes: dict[str, int]
    seeds: dict[str, int]
    disks: list[Disk]
    missing: str


class Use(Arguments):
    """Which disk; `typed` is its serial number, or its name when it has none: needed when something is on it, which is erased."""

    disk: str
    typed: str = ""


class Reset(Arguments):
    """`thorough` overwrites every byte, which takes as long as the disk is slow; else the disk is told to forget, as SSDs can."""

    thorough: bool = False


STORAGE = Verb("storage.look", Nothing, Storage)
DISKS = Verb("storage.disks", Nothing, list[Disk])
PROBLEMS = Verb("storage.problems", Nothing, list[str])
CLEAN = Verb("storage.clean", Nothing, int)  # the bytes that are free now
USE = LongVerb("storage.use", Use, NoneType, title="Giving a second disk to data")
RESET = Verb("reset.begin", Reset, NoneType)
