"""Whether this is the bootable image, and which build of it."""

from pathlib import Path

from pydantic import ValidationError

from appliance.errors import Conflict, Unavailable
from appliance.host.interface import system
from appliance.host.interface.system import Image
from appliance.host.rpc.registry import Host, implements
from appliance.host.rpc.verb import Nothing

FILE = Path("/usr/lib/dpe/image.json")
BLOCK = Path("/sys/class/block")
REMEDY = "Switch the server off, leave only the right disk in it, and start it again."  # when there is a crowd


def boot_image(file: Path = FILE) -> Image | None:
    """The image that this host was booted from; None on a Debian of somebody's own."""
    try:
        return Image.model_validate_json(file.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        raise Unavailable(f"{file} cannot be read: {error}.") from error


def required() -> Image:
    """The image. Raises Unavailable where there is none."""
    if (image := boot_image()) is None:
        raise Unavailable(
            "This appliance runs on a Debian of your own, which takes care of that itself.",
            "Only the bootable image does this from its page.",
        )
    return image


def crowd(devices: Path = BLOCK) -> str:
    """What is wrong when several disks hold an appliance, whose partitions have the same names, in words; empty when one does, or none."""
    systems = set[str]()
    for number in devices.glob("*/partition"):
        try:
            if "PARTNAME=dpe-a" in (number.parent / "uevent").read_text().splitlines():
                systems.add(number.parent.resolve().parent.name)
        except OSError:  # it was just pulled out
            continue
    if len(systems) < 2:
        return ""
    return f"An appliance is on several disks of this server ({', '.join(sorted(systems))}), and they can be taken for each other."


def alone() -> None:
    """Raises Conflict while a disk is there that could be written to in the place of this appliance's own."""
    if problem := crowd():
        raise Conflict(problem, REMEDY)


@implements(system.IMAGE)
def _image(args: Nothing, host: Host) -> system.MaybeImage:
    return system.MaybeImage(boot_image())
