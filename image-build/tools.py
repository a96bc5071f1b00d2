"""The trees that an image is made from, and in: Debian's packages, bootstrapped once and kept, and programs run inside."""

import hashlib
import json
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from appliance import durable
from appliance.packages import sources
from appliance.run import Argument, run

SUITE = "trixie"
COMPONENTS = "main non-free-firmware"  # the latter has nothing but firmware, which may be passed on but not changed
PRIVATE = ("unshare", "--mount", "--propagation", "private", "--")
OPTIONS = (
    '--aptopt=Acquire::Languages "none"',
    '--aptopt=Acquire::Retries "3"',
    "--dpkgopt=path-exclude=/usr/share/doc/*",
    "--dpkgopt=path-include=/usr/share/doc/*/copyright",
    "--dpkgopt=path-exclude=/usr/share/man/*",
    "--dpkgopt=path-exclude=/usr/share/info/*",
    "--dpkgopt=path-exclude=/usr/share/locale/*",
    "--dpkgopt=path-include=/usr/share/locale/locale.alias",
)
# What a program in a tree finds mounted there: $1 is the tree, $2 what lies at /build in it.
ENTER = """
mount -t proc proc "$1/proc"
mount --rbind /dev "$1/dev"
mount -t tmpfs -o mode=1777 tmpfs "$1/tmp"
if [ -n "$2" ]; then mkdir -p "$1/build"; mount --bind "$2" "$1/build"; fi
tree=$1; shift 2
exec chroot "$tree" "$@"
"""
# So that pip in a tree reaches what the host's reaches: $1 is the tree. These mounts, too, are seen by that program alone.
NETWORK = """
for file in /etc/resolv.conf /etc/hosts /etc/pip.conf; do
    if [ -e "$file" ]; then touch "$1$file"; mount --bind "$file" "$1$file"; fi
done
mkdir -p "$1/etc/ssl/certs"; mount --bind /etc/ssl/certs "$1/etc/ssl/certs"
"""


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def digest(*parts: object) -> str:
    return hashlib.sha256(json.dumps(parts, default=str).encode()).hexdigest()[:16]


def packages(file: Path) -> list[str]:
    """The names in a list of packages."""
    return sorted({line.strip() for line in file.read_text().splitlines() if line.strip() and not line.startswith("#")})


def kept(place: Path) -> Path | None:
    """`place` if it is there; if not, None, and what was kept before under the same name goes."""
    if place.exists():
        return place
    place.parent.mkdir(parents=True, exist_ok=True)
    for old in place.parent.glob(f"{place.name.rsplit('-', 1)[0]}-*"):
        remove(old)
    return None


def remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        run(["rm", "--recursive", "--force", "--one-file-system", path], timeout=300)
    else:
        path.unlink(missing_ok=True)


def bootstrap(name: str, list: Path, stages: Path) -> Path:
    """The tree of a list of packages: kept for the week, so that it never lacks security updates for long."""
    names = packages(list)
    lines = sources.mirror(os.environ.get("DPE_DEBIAN_MIRROR", "")).lines(SUITE, COMPONENTS)
    place = stages / f"{name}-{digest(names, lines, OPTIONS, datetime.now(UTC).strftime('%G-%V'))}"
    if tree := kept(place):
        return tree
    say(f"{name}: {len(names)} packages and what they need")
    new = stages / f"{name}-new"
    remove(new)
    # Its mounts, too, are its own, and gone with it when it is killed.
    command = [
        *PRIVATE,
        "mmdebstrap",
        "--mode=root",
        "--variant=minbase",
        f"--include={','.join(names)}",
        *OPTIONS,
        SUITE,
        os.fspath(new),
        *lines,
    ]
    run(command, timeout=3600, env={"TMPDIR": os.fspath(stages)}, hint="No network, no space, or a package that is not there.")
    durable.replace(new, place)
    return place


def inside(
    tree: Path,
    command: Sequence[Argument],
    *,
    build: Path | None = None,
    network: bool = False,
    env: Mapping[str, str] | None = None,
    timeout: float = 1800,
) -> str:
    """Run a program in a tree, with `build` at /build there; its mounts go with it."""
    script = f"set -eu\n{NETWORK if network else ''}{ENTER}"
    shell: list[Argument] = [*PRIVATE, "sh", "-c", script, "sh", tree, build or ""]
    paths = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "HOME": "/tmp", "TMPDIR": "/tmp"}  # noqa: S108 - the tree's own
    return run([*shell, *command], env={**paths, **(env or {})}, timeout=timeout)


def copy(source: Path, target: Path) -> None:
    """Copy a tree by links, which takes seconds: nobody may write into a file of the copy, only put another in its place."""
    target.mkdir(parents=True, exist_ok=True)
    run(["cp", "--archive", "--link", "--no-target-directory", source, target], timeout=600)


def lay(source: Path, target: Path, *, skip: Sequence[str] = ("__pycache__",)) -> None:
    """Copy files of the checkout to where they land: root's, and readable, whatever the checkout's modes are. Of a linked
    folder comes what is in it, and of a linked file its content, unless that is copied, too, or is none, as of /dev/null."""
    for folder, folders, names in os.walk(source, followlinks=True):
        folders[:] = sorted(name for name in folders if name not in skip)
        place = target / Path(folder).relative_to(source)
        if not place.is_dir():
            place.mkdir(parents=True)
            place.chmod(0o755)
        for name in sorted(names):
            file, made = Path(folder) / name, place / name
            made.unlink(missing_ok=True)
            shutil.copy2(file, made, follow_symlinks=file.is_file() and not file.resolve().is_relative_to(source.resolve()))
            if not made.is_symlink():
                made.chmod(0o755 if os.access(file, os.X_OK) and file.stat().st_mode & 0o100 else 0o644)
