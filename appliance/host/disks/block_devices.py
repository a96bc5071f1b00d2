"""The block devices of this server, as lsblk tells of them. Nothing else reads its answers."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, TypeAdapter, ValidationError

from appliance.errors import Unavailable
from appliance.run import run

# With the name among its columns lsblk makes a tree; without it some versions make a list, which hides what is on which disk.
COLUMNS = "NAME,PATH,PKNAME,TYPE,SIZE,MODEL,SERIAL,FSTYPE,LABEL,PARTLABEL,PTTYPE,MOUNTPOINTS,RO,ROTA,TRAN,UUID"


def _text(said: Any) -> Any:
    return "" if said is None else " ".join(said.split()) if isinstance(said, str) else said


def _places(said: Any) -> Any:
    return [one for one in said or [] if one]


Text = Annotated[str, BeforeValidator(_text)]


class Device(BaseModel):
    """A disk, a partition or what is made of them, with what is on it. `size` is bytes; a text that lsblk does not know is empty."""

    path: str
    type: str
    size: int
    name: Text = ""
    pkname: Text = ""
    model: Text = ""
    serial: Text = ""
    fstype: Text = ""
    label: Text = ""
    partlabel: Text = ""
    pttype: Text = ""
    mountpoints: Annotated[list[str], BeforeValidator(_places)] = []
    ro: bool = False
    rota: bool = False
    tran: Text = ""
    uuid: Text = ""
    children: list["Device"] = []

    def below(self) -> Iterator["Device"]:
        """All that is on it, at any depth."""
        for child in self.children:
            yield child
            yield from child.below()

    @property
    def mounted(self) -> list[str]:
        """Where it is, or what is on it."""
        return [place for one in (self, *self.below()) for place in one.mountpoints]


LISTING = TypeAdapter(dict[str, list[Device]])


def devices(*paths: Path | str, listing: str | None = None) -> list[Device]:
    """The devices at these paths, or all of this server. `listing` is what lsblk says. Raises Unavailable when it says nothing of use."""
    if listing is None:
        listing = run(["lsblk", "--json", "--bytes", "--output", COLUMNS, *paths])
    try:
        found = LISTING.validate_json(listing)["blockdevices"]
        if not paths and any(one.type == "part" for one in found):
            raise ValueError("partitions are listed beside their disks")
    except ValidationError as error:
        raise Unavailable(f"The disks of this server cannot be listed: {error.errors()[0]['msg']}.") from error
    except (ValueError, LookupError) as error:
        raise Unavailable(f"The disks of this server cannot be listed: {error}.") from error
    return found


BY_NUMBER = Path("/sys/dev/block")
BY_UUID = Path("/dev/disk/by-uuid")


def whole_disks(device: int) -> set[str]:
    """The disks that a file system lies on, by its device number: several of a RAID or volume group, none of what is memory or another server's."""
    place = BY_NUMBER / f"{os.major(device)}:{os.minor(device)}"
    return _below(place.resolve()) if place.exists() else set()


def _below(place: Path) -> set[str]:
    parts = list((place / "slaves").glob("*"))
    if parts:
        return {disk for part in parts for disk in _below(part.resolve())}
    return {place.parent.name if (place / "partition").exists() else place.name}


def share_a_disk(one: int, other: int) -> bool:
    """Whether two file systems, by their device numbers, go with the same disk."""
    return one == other or bool(whole_disks(one) & whole_disks(other))


def number_of(uuid: str) -> int | None:
    """The device number of the file system with this UUID; None when it is not plugged in."""
    try:
        return (BY_UUID / uuid).stat().st_rdev
    except OSError:
        return None
