"""The state directory as it lies on disk: who may read and write what.

Only `catalog/` and `uploads/` are writable for the unprivileged web process. Everything that root reads back and
believes (settings, seeds, libvirt's own files) lies where that process cannot even add a name.
"""

import contextlib
import fcntl
import grp
import os
import pwd
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import IO

from appliance import durable
from appliance.errors import Conflict
from appliance.settings import Settings

WEB = "dpe-web"
RESCUE = "dpe-rescue"
JUMP = "dpe-jump"


def _group() -> int:
    try:
        return grp.getgrnam(WEB).gr_gid
    except KeyError:  # tests of single rooms run on machines that were never set up
        return -1


def _directory(path: Path, mode: int, group: int = -1) -> None:
    path.mkdir(parents=True, exist_ok=True)
    if os.geteuid() == 0:
        os.chown(path, 0, group)
    path.chmod(mode)  # after chown, which clears set-group-ID


def _file(path: Path, mode: int, group: int) -> None:
    # Never through a name: a web process gone bad could have put a link there for root to follow.
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        if os.geteuid() == 0:
            os.fchown(handle, 0, group)
        os.fchmod(handle, mode)
    finally:
        os.close(handle)


def prepare(settings: Settings) -> None:
    """Make the state directory, or put its owners and modes right. Safe to call at any time, by anyone who runs as root."""
    web = _group()
    # Others may pass through, because QEMU runs as a user of its own; they cannot list.
    _directory(settings.state, 0o711)
    _directory(settings.run, 0o711)
    _directory(settings.run / "nginx", 0o711)
    _directory(settings.host, 0o711)
    _directory(settings.seeds, 0o2751, web)
    _directory(settings.scenarios, 0o700)
    _directory(settings.packages, 0o755)
    _directory(settings.machines, 0o711)
    _directory(settings.data, 0o711)
    _directory(settings.kept, 0o700)
    _directory(settings.labels, 0o700)
    _directory(settings.cache, 0o755)
    _directory(settings.logs, 0o2750, web)
    _directory(settings.support, 0o2750, web)
    _directory(settings.tls, 0o700)
    _directory(settings.updates, 0o700)
    _directory(settings.uploads, 0o2770, web)
    _directory(settings.catalog.parent, 0o2770, web)
    _share_ssh(settings)
    # SQLite gives the files it makes beside the catalog the catalog's own owner and mode.
    _file(settings.catalog, 0o660, web)
    _file(settings.readings, 0o660, web)
    if not settings.web_secret.exists() or not settings.web_secret.stat().st_size:
        durable.write(settings.web_secret, secrets.token_bytes(32))
    _file(settings.web_secret, 0o640, web)


def _share_ssh(settings: Settings) -> None:
    """Two folders of sockets: dpe-console's, which the SSH server alone reaches, and the SSH server's own."""
    asked, own = settings.ssh_questions.parent, settings.ssh_folder
    asked.mkdir(exist_ok=True)
    own.mkdir(exist_ok=True)
    with contextlib.suppress(KeyError):  # tests of single rooms run on machines that were never set up
        group = grp.getgrnam(JUMP).gr_gid
        if os.geteuid() == 0:
            os.chown(asked, pwd.getpwnam(WEB).pw_uid, group)
            os.chown(own, pwd.getpwnam(JUMP).pw_uid, group)
    asked.chmod(0o2710)
    own.chmod(0o700)


def share_folder(path: Path, owner: int) -> None:
    """A folder in which `owner` makes sockets that the web process's group, and nobody else but root, may connect to: what is made there is
    that group's (set-group-ID), whoever makes it, from its first moment. They cannot list it."""
    path.mkdir(mode=0o700, exist_ok=True)
    if os.geteuid() == 0:
        os.chown(path, owner, _group())
    path.chmod(0o2710)


def share_socket(path: Path) -> None:
    """Let the web process, and nobody else but root, connect to a socket."""
    if os.geteuid() == 0:
        os.chown(path, 0, _group())
    path.chmod(0o660)


def hold(file: Path, refusal: Callable[[str], Conflict]) -> IO[str]:
    """Hold a lock file, with our process's number in it, as long as what is returned stays open.

    Raises `refusal(number)` with the number of the process that holds it already.
    """
    held = file.open("a+")
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        held.seek(0)
        other = held.read().strip() or "unknown"
        held.close()
        raise refusal(other) from error
    held.truncate(0)
    with contextlib.suppress(OSError):  # it is held all the same on a disk that is full
        os.write(held.fileno(), str(os.getpid()).encode())
    return held
