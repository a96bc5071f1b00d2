"""Seeds that come with the image: a folder a class, with the files of a seed as `build` leaves them.

They are copied into the state directory, because the image's own are gone with the next update. A copy is made in the seed's work folder,
checked, and moved to its place by one rename, so that no half of it is ever used.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import IO, Any

from appliance import durable
from appliance.errors import Unavailable
from appliance.paths import below
from appliance.scenario.schema import ClassSpec
from appliance.seeds import recipe
from appliance.seeds.build import Cancelled, SeedFiles, load_files, seed_folder, work_folder
from appliance.settings import Settings

BUILD = "Build the seed instead; that needs a Debian mirror."
PIECE = 1 << 20  # bytes
ZEROS = bytes(PIECE)

Report = Callable[[str, int, int], None]


def export(files: SeedFiles, folder: Path) -> Path:
    """Write a built seed to `folder`, as an image ships it; returns where it is. What was there of its class is replaced."""
    target = folder / str(files.manifest["class"])
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    for name in (*files.manifest["files"], "seed.json"):
        shutil.copyfile(files.disk.parent / name, target / name)
        (target / name).chmod(0o444)
    return target


def shipped_seed(class_name: str, settings: Settings) -> Path | None:
    """The folder of the seed that came with the image, if one did."""
    folder = below(settings.shipped_seeds, class_name)
    return folder if folder.is_dir() else None


def check_shipped(folder: Path, spec: ClassSpec, scenario: Path) -> None:
    """Raise Unavailable unless the seed in `folder` is what a build of the class would make."""
    if _manifest(folder).get("recipe") != recipe.digest(spec, scenario):
        raise Unavailable("The seed that came with the image was made for another state of the scenario.", BUILD)


def newer(folder: Path, known: Iterable[Mapping[str, Any]]) -> str:
    """When the seed in `folder` was built (ISO 8601), if that was after all of these, given by their manifests; else empty."""
    built = str(_manifest(folder).get("built", ""))
    try:
        moment = datetime.fromisoformat(built)
        return built if all(moment > datetime.fromisoformat(one["built"]) for one in known if one.get("built")) else ""
    except (ValueError, TypeError) as error:
        raise Unavailable(f"The seed that came with the image is damaged: {error}.", BUILD) from error


def adopt(
    seed_id: int, class_name: str, version: int, folder: Path, settings: Settings, report: Report, cancelled: Callable[[], bool]
) -> SeedFiles:
    """Make the seed in `folder` that version of the class; one that is there is left. May be repeated after a crash.

    Raises Unavailable when it is damaged or does not fit on the disk, Cancelled; nothing is left then.
    """
    final, work = seed_folder(class_name, version, settings), work_folder(seed_id, settings)
    if final.exists():
        return load_files(class_name, version, settings)
    manifest = {**_manifest(folder), "version": version}
    shutil.rmtree(work, ignore_errors=True)
    try:
        _check_room(manifest, settings)
        work.mkdir(mode=0o711, parents=True)
        for number, (name, listed) in enumerate(manifest["files"].items(), 1):
            report(f"Copy {name} from the image", number, len(manifest["files"]))
            if _copy(folder / name, work / name, cancelled) != listed["sha256"]:
                raise Unavailable(f"The seed that came with the image is damaged: {name} is not as it was made.", BUILD)
        durable.write(work / "seed.json", json.dumps(manifest, indent=1), mode=0o444)
        work.chmod(0o755)
        final.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        os.sync()
        durable.replace(work, final)
    except (OSError, KeyError, TypeError, AttributeError) as error:
        raise Unavailable(f"The seed that came with the image cannot be used: {error}.", BUILD) from error
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return load_files(class_name, version, settings)


def _manifest(folder: Path) -> dict[str, Any]:
    try:
        return {**json.loads((folder / "seed.json").read_text())}
    except (OSError, ValueError, TypeError) as error:
        raise Unavailable(f"The seed that came with the image is damaged: {error}.", BUILD) from error


def _check_room(manifest: dict[str, Any], settings: Settings) -> None:
    needed = sum(each["size"] for each in manifest["files"].values()) >> 20
    free = shutil.disk_usage(settings.state).free >> 20
    if free < needed + settings.disk_reserve:
        raise Unavailable(
            f"The seed takes {needed} MiB, and {free} MiB are free, of which {settings.disk_reserve} MiB are kept back.",
            "Make room, or put the state on a larger disk; then build the seed.",
        )


def _copy(source: Path, target: Path, cancelled: Callable[[], bool]) -> str:
    """Copy a file, its holes too; returns its SHA-256."""
    digest = hashlib.sha256()
    with source.open("rb") as reading, target.open("xb") as writing:
        while piece := reading.read(PIECE):
            if cancelled():
                raise Cancelled("The copy of the seed was cancelled.", BUILD)
            digest.update(piece)
            _write(piece, writing)
        writing.truncate()
        writing.flush()
        os.fsync(writing.fileno())
    target.chmod(0o444)
    return digest.hexdigest()


def _write(piece: bytes, writing: IO[bytes]) -> None:
    if piece == ZEROS[: len(piece)]:
        writing.seek(len(piece), os.SEEK_CUR)
    else:
        writing.write(piece)
