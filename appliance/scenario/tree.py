"""A scenario as a set of files: read from a folder or a zip, checked, written to a folder, packed into a zip.

A zip is made the same each time (names sorted, nothing compressed, one time for all), so that one that is brought in and
taken out again is the same, byte for byte.
"""

import contextlib
import errno
import hashlib
import io
import json
import os
import stat
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from appliance.errors import BadInput
from appliance.scenario import applications
from appliance.scenario.applications import Entry
from appliance.scenario.load import Names, ScenarioErrors, load
from appliance.scenario.schema import Scenario
from appliance.yamlfile import FileError, FileErrors

MAIN = "scenario.yml"
FILES = 2000
BYTES = 24 << 20  # of all files together
MAIN_BYTES = 96 << 10  # of scenario.yml, which a form holds
YAML_BYTES = 1 << 20  # of all YAML, which is read line by line to check it
PATH = 200  # bytes
PACKED = BYTES + (4 << 20)  # bytes of a zip
LARGER = "Leave out what machines can fetch while they are built."
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the first time that a zip can have
_END = struct.Struct("<12xII2x")  # of the end of a zip: bytes of the list of its files, and where that begins
_MEMBER = 46 + PATH + 64  # bytes of that list for a file, and some to spare
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_BROKEN = (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError, OSError, ValueError, struct.error)


@dataclass(frozen=True)
class File:
    """What is in a file, and whether it can be run."""

    content: bytes
    executable: bool = False

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the content."""
        return hashlib.sha256(self.content).hexdigest()


Tree = Mapping[str, File]  # by path, with / between names
Listing = Mapping[str, Sequence[Any]]  # the same with [digest, whether it can be run] in place of files, as the catalog keeps it


def listing(tree: Tree) -> Listing:
    """The digests of a tree's files, and whether they can be run."""
    return {path: (file.digest, file.executable) for path, file in sorted(tree.items())}


def digest(listed: Listing) -> str:
    """SHA-256 of all that a tree is."""
    return hashlib.sha256(json.dumps([[path, *one] for path, one in sorted(listed.items())]).encode()).hexdigest()


def _refused(message: str, hint: str = LARGER) -> BadInput:
    return BadInput(message, hint, field="file")


class _Gathered:
    """Files as they come, within the bounds."""

    def __init__(self) -> None:
        self.files: dict[str, File] = {}
        self.left = BYTES

    def add(self, path: str, file: File) -> None:
        if path in self.files:
            raise _refused(f"{path} is in it twice.", "Make the zip anew.")
        self.left -= len(file.content)
        if self.left < 0:
            raise _refused(f"All files together are larger than {BYTES >> 20} MiB.")
        if len(self.files) == FILES:
            raise _refused(f"It has more than {FILES} files.")
        self.files[path] = file


def _is_left_out(parts: tuple[str, ...]) -> bool:
    """What tools leave beside a scenario, and is none of it."""
    return parts[0].startswith(".") or parts[0] == "__MACOSX" or bool({".git", "__pycache__", ".DS_Store"} & set(parts))


def read_folder(folder: Path) -> Tree:
    """The files in a folder; a link stands for what it leads to. Raises BadInput when it is too large, OSError when it cannot be read."""
    found = _Gathered()
    for file, path in _walk(folder, ()):
        if (size := file.stat().st_size) > found.left:
            raise _refused(f"{path} ({size >> 20} MiB) is too large: all files together have at most {BYTES >> 20} MiB.")
        found.add(path, File(file.read_bytes(), bool(file.stat().st_mode & 0o100)))
    check_paths(found.files)
    return found.files


def _walk(folder: Path, above: tuple[str, ...]) -> Iterator[tuple[Path, str]]:
    if len(above) > PATH // 8:
        raise _refused(f"{'/'.join(above)[:PATH]} is too deep: a link may lead back to where it is.", "Remove that link.")
    for entry in sorted(folder.iterdir()):
        parts = (*above, entry.name)
        if _is_left_out(parts):
            continue
        if entry.is_dir():
            yield from _walk(entry, parts)
        elif entry.is_file():
            yield entry, "/".join(parts)


def read_zip(content: bytes, main: str = MAIN) -> Tree:
    """The files in a zip, whose scenario.yml is at its top or in its one folder. Raises BadInput for what is no zip, too large, or leads elsewhere."""
    return _read_zip(content, main)[1]


def read_application(content: bytes) -> tuple[str, Tree]:
    """The same of an application: the folder's name, empty where application.yml is at the top, and the files."""
    return _read_zip(content, applications.MAIN)


def _read_zip(content: bytes, main: str) -> tuple[str, Tree]:
    if len(content) > PACKED:
        raise _refused(f"The zip is larger than {PACKED >> 20} MiB.")
    if _directory(content) > 2 * FILES * _MEMBER:
        raise _refused(f"It has more than {FILES} files.")
    found = _Gathered()
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as packed:
            members = packed.infolist()
            if len(members) > 2 * FILES:
                raise _refused(f"It has more than {FILES} files.")
            for member in members:
                if not member.is_dir() and not member.filename.startswith("__MACOSX/"):
                    _check_member(member)
                    with packed.open(member) as reading:  # how large it says that it is counts for nothing
                        found.add(member.filename, File(reading.read(found.left + 1), bool((member.external_attr >> 16) & 0o100)))
    except _BROKEN as error:
        if isinstance(error, BadInput):
            raise
        raise _refused(f"That zip cannot be read: {error}.", f"Choose a zip with {main} and what belongs to it.") from error
    top, files = _without_top(found.files, main)
    files = {path: file for path, file in files.items() if not _is_left_out(tuple(path.split("/")))}
    check_paths(files)
    if main not in files:
        raise _refused(f"There is no {main} in it.", f"Put {main} at the top of the zip, or into its one folder.")
    return top, files


def _directory(content: bytes) -> int:
    """Bytes of the list of files at a zip's end, which is read as a whole before there is any file: where zipfile looks for it."""
    end = len(content) - _END.size
    if not (content[end:].startswith(b"PK\x05\x06") and content.endswith(b"\0\0")):
        end = content.rfind(b"PK\x05\x06")
    return int(_END.unpack_from(content, end)[0]) if 0 <= end <= len(content) - _END.size else 0


def _check_member(member: zipfile.ZipInfo) -> None:
    kind, name = stat.S_IFMT(member.external_attr >> 16), member.filename[:PATH]
    if kind not in (0, stat.S_IFREG):
        raise _refused(f"{name} is a link or a device.", "Put the file itself into the zip.")
    if member.flag_bits & 1:
        raise _refused(f"{name} is encrypted.", "Make the zip without a password.")
    if member.compress_type not in _METHODS:
        raise _refused(f"{name} is compressed in a way that is not read here.", "Make the zip with deflate, as usual.")
    _check_path(member.filename)


def _check_path(path: str) -> None:
    hint = "Names have no control characters, and lead nowhere else."
    fits = path.isprintable() and "\\" not in path and len(path.encode(errors="replace")) <= PATH
    if not fits or any(part in ("", ".", "..") for part in path.split("/")) or any("\ud800" <= sign <= "\udfff" for sign in path):
        raise _refused(f"{path[:PATH]!r} cannot be the name of a file of a scenario.", hint)


def check_paths(files: Iterable[str]) -> None:
    """Raise BadInput for a path that leads elsewhere, and for a file that is a folder as well."""
    files = set(files)
    for path in files:
        _check_path(path)
        parts = path.split("/")
        for count in range(1, len(parts)):
            if (above := "/".join(parts[:count])) in files:
                raise _refused(f"{above} is a file and a folder.", "Give one of them another name.")


def _without_top(files: dict[str, File], main: str) -> tuple[str, dict[str, File]]:
    """The folder that all is in, if there is one, and the files without it."""
    tops = {path.partition("/")[0] for path in files}
    if main in files or len(tops) != 1:
        return "", files
    return tops.pop(), {path.partition("/")[2]: file for path, file in files.items() if "/" in path}


def application(tree: Tree, name: str) -> Tree:
    """The files of an application that a scenario brings, by their paths in its folder; empty where it has none of that name."""
    above = f"{applications.OWN}/{name}/"
    return {path.removeprefix(above): file for path, file in tree.items() if path.startswith(above)}


def with_application(tree: Tree, name: str, files: Tree) -> Tree:
    """The scenario with these files as its application of that name; without any, it has it no more. Raises BadInput when that is too large."""
    above, found = f"{applications.OWN}/{name}/", _Gathered()
    others = {path: file for path, file in tree.items() if not path.startswith(above)}
    for path, file in {**others, **{above + path: file for path, file in files.items()}}.items():
        found.add(path, file)
    check_paths(found.files)
    return found.files


def to_zip(tree: Tree, name: str) -> bytes:
    """A zip with all of it in a folder of that name, always the same for the same files."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as writing:
        for path, file in sorted(tree.items()):
            member = zipfile.ZipInfo(f"{name}/{path}", _EPOCH)
            member.create_system = 3  # Unix, whose modes it has
            member.external_attr = (stat.S_IFREG | (0o755 if file.executable else 0o644)) << 16
            writing.writestr(member, file.content)
    return packed.getvalue()


def write(tree: Tree, folder: Path) -> None:
    """Write all of it below a folder that is there and empty. Raises OSError."""
    for path, file in tree.items():
        target = folder / path
        target.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o755 if file.executable else 0o644)
        with os.fdopen(handle, "wb") as out:
            out.write(file.content)


def entries(tree: Tree) -> Mapping[str, Entry]:
    """The applications that a scenario brings, as the catalogue has them; what cannot be used is left out. Their folders are gone again."""
    found = {}
    with tempfile.TemporaryDirectory(prefix="dpe-applications-") as made:
        write(tree, Path(made))
        for below in applications.folders(Path(made)):
            with contextlib.suppress(FileErrors):
                found[below.name] = applications.read(below)
    return found


def check(tree: Tree, packages: Names | None = None) -> Scenario:
    """What its scenario.yml says. Raises ScenarioErrors with everything that is wrong with it and its roles, files named as in the tree; `packages` as for `load`."""
    main = tree.get(MAIN)
    if main is not None and len(main.content) > MAIN_BYTES:
        raise ScenarioErrors([FileError(Path(MAIN), 1, f"it is larger than {MAIN_BYTES >> 10} KiB", "shorten it")])
    yaml = [(path, len(file.content)) for path, file in tree.items() if path.endswith((".yml", ".yaml"))]
    if sum(size for _, size in yaml) > YAML_BYTES:
        largest = max(yaml, key=lambda one: one[1])[0]
        hint = "keep data in files of another kind, which nobody has to read line by line"
        raise ScenarioErrors([FileError(Path(largest), 1, f"all YAML together is larger than {YAML_BYTES >> 10} KiB", hint)])
    with tempfile.TemporaryDirectory(prefix="dpe-scenario-") as made:
        folder = Path(made).resolve()
        try:
            write(tree, folder)
            return load(folder, anywhere=True, packages=packages).scenario
        except ScenarioErrors as error:
            here = f"{folder}/"
            raise ScenarioErrors(
                [
                    one._replace(
                        file=one.file.relative_to(folder) if one.file.is_relative_to(folder) else one.file,
                        message=one.message.replace(here, ""),
                        hint=one.hint.replace(here, ""),
                    )
                    for one in error.errors
                ]
            ) from None
        except OSError as error:
            if error.errno in (errno.ENAMETOOLONG, errno.EEXIST, errno.EISDIR, errno.ENOTDIR):
                raise _refused(f"It cannot be laid out: {error.strerror}.", "Give its files other names.") from error
            raise
