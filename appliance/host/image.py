"""Whether this is the bootable image, and which build of it."""

from pathlib import Path
from typing import Annotated

from pydantic import AwareDatetime, BaseModel, Field, ValidationError

from appliance.errors import Unavailable
from appliance.host.verbs import Arguments, Host, verb

FILE = Path("/usr/lib/dpe/image.json")


class Image(BaseModel):
    """What a build says of itself."""

    version: str
    built_at: Annotated[AwareDatetime, Field(strict=False)]
    scenario: str
    commit: str = ""


def found(file: Path = FILE) -> Image | None:
    """The image that this host was booted from; None on a Debian of somebody's own."""
    try:
        return Image.model_validate_json(file.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        raise Unavailable(f"{file} cannot be read: {error}.") from error


def required() -> Image:
    """The image. Raises Unavailable where there is none."""
    if (image := found()) is None:
        raise Unavailable(
            "This appliance runs on a Debian of your own, which takes care of that itself.",
            "Only the bootable image does this from its page.",
        )
    return image


@verb("image")
def _image(args: Arguments, host: Host) -> dict[str, str] | None:
    image = found()
    return image.model_dump(mode="json") if image else None
