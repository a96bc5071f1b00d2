"""Where other people's words are carried out: what a program may see and use of this host, as bubblewrap is told it.

Two walls. The outer one is built by root: a file system that holds nothing but what is named here, and a PID namespace that ends with whoever began it.
The inner one takes root away: a user namespace whose root is nobody on the host (FIRST and what follows it belong to no account), with no more
capabilities than it takes to install software, none of which count outside, no way to make another user namespace, and a network of its own that has
nothing but a proxy, if that (proxy.py). Between them stands guard.py, which makes the inner one and ends what goes too far.
"""

import json
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

from appliance import run
from appliance.errors import CommandFailed
from appliance.run import Argument
from appliance.settings import REPOSITORY

FIRST = 0x6FFF0000  # the last of what systemd leaves to containers (systemd.io/UIDS-GIDS): who is root in a sandbox is that on the host
IDS = 1 << 16
PROXY = "http://127.0.0.1:3128"
OURS = Path(__file__).parent / "etc"
SHARED_MEMORY = 64 << 20  # bytes, of each of the file systems in memory

# What installing software takes, as Docker has it, and looking at other accounts' processes. All of it is of the namespace, none of the host.
CAPABILITIES = (
    *("CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "NET_BIND_SERVICE"),
    *("SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT", "SYS_PTRACE"),
)
_OF_ETC = (
    *("alternatives", "apt/keyrings", "apt/trusted.gpg.d", "gai.conf", "hosts", "ld.so.cache", "ld.so.conf", "ld.so.conf.d"),
    *("mke2fs.conf", "nsswitch.conf", "resolv.conf", "ssl/certs", "ssl/openssl.cnf"),
)
_ONLY_OUTER = ("/etc/hosts", "/etc/resolv.conf")


@dataclass(frozen=True)
class Limits:
    """At what a program is ended: seconds, processes at a time, MiB of memory, MiB that must stay free where it writes, MiB of a file."""

    seconds: float = 3600
    processes: int = 1000
    memory: int = 4096
    free: int = 256
    file: int = 65536


@dataclass(frozen=True)
class Sandbox:
    """What is given to a program. All paths are the same inside.

    `scratch` is an empty folder of its own, for one program and no other; `reads` and `writes` are files and folders besides, `writes` made over to it by `hand_over`.
    `tree` is a root file system, among `writes`, that it enters: `cache`, if there is one, is that one's /mnt. `hosts` are those that the proxy leads to,
    `host:port` each. `mounts` lets it mount, in its own namespace, which only programs of Debian's may.
    """

    scratch: Path
    reads: Sequence[Path] = ()
    writes: Sequence[Path] = ()
    tree: Path | None = None
    cache: Path | None = None
    hosts: Sequence[str] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    mounts: bool = False
    limits: Limits = field(default_factory=Limits)


def hand_over(folder: Path, mode: int = 0o755) -> Path:
    """Make a folder that is the sandbox's own; returns it. Raises OSError when something else is there, a link among others."""
    with suppress(FileExistsError):
        folder.mkdir(parents=True)
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        os.fchown(handle, FIRST, FIRST)
        os.fchmod(handle, mode)
    finally:
        os.close(handle)
    return folder


def give(file: Path, text: str) -> Path:
    """Write a file that the sandbox reads, and nobody else; returns it."""
    file.write_text(text)
    os.chown(file, FIRST, FIRST)
    file.chmod(0o400)
    return file


def remove(folder: Path) -> None:
    """Remove what a sandbox wrote, however deep it goes."""
    with suppress(RecursionError):
        shutil.rmtree(folder, ignore_errors=True)
    if folder.exists():
        with suppress(CommandFailed):
            run.run(["rm", "--recursive", "--force", "--one-file-system", "--", folder], timeout=600)


def confined(command: Sequence[Argument], sandbox: Sandbox) -> list[str]:
    """`command` wrapped so that it runs in the sandbox, and dies with the calling thread's process, which has to start it itself."""
    for name in ("tmp", "tree-tmp"):
        hand_over(sandbox.scratch / name, 0o1777)
    job = {
        "command": [os.fspath(part) for part in (*_inner(sandbox), *command)],
        "hosts": list(sandbox.hosts),
        "limits": asdict(sandbox.limits),
        "disks": [os.fspath(path) for path in _written(sandbox)],
    }
    return run.confined([*_outer(sandbox), sys.executable, "-m", "appliance.seeds.guard", json.dumps(job)])


def _outer(sandbox: Sandbox) -> list[Argument]:
    """The file system, put together by root, so that it matters to nobody in which folders it lies and who may enter them."""
    wall: list[Argument] = ["bwrap", "--die-with-parent", "--unshare-ipc", "--unshare-uts"]
    for name in ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64"):
        if (path := Path(name)).is_symlink():
            wall += ["--symlink", path.readlink(), path]
        else:
            wall += ["--ro-bind-try", path, path]
    for name in _OF_ETC:
        wall += [*_folders(Path("/etc") / name), "--ro-bind-try", f"/etc/{name}", f"/etc/{name}"]
    wall += ["--perms", "0755", "--dir", "/etc/apt/apt.conf.d"]  # apt says so when it is missing
    for name in ("passwd", "group"):
        wall += ["--ro-bind", OURS / name, f"/etc/{name}"]
    wall += ["--dev", "/dev", "--perms", "1777", "--size", str(SHARED_MEMORY), "--tmpfs", "/dev/shm", "--dev-bind", "/proc", "/proc"]  # noqa: S108
    wall += ["--bind", sandbox.scratch / "tmp", "/tmp"]  # noqa: S108  the first: what else is given may lie below
    python = [Path(sys.prefix), Path(sys.base_prefix)]
    code = dict.fromkeys(
        [*python, *(path.resolve() for path in python), REPOSITORY / "appliance", REPOSITORY / "playbooks"]
    )  # scripts name it
    for path in (*(path for path in code if not path.is_relative_to("/usr")), *sandbox.reads):
        wall += [*_folders(path), "--ro-bind", path.resolve(), path]
    for path in _written(sandbox):
        wall += [*_folders(path), "--bind", path.resolve(), path]
    return [*wall, "--chdir", REPOSITORY, "--"]


def _written(sandbox: Sandbox) -> list[Path]:
    return [sandbox.scratch, *sandbox.writes, *([sandbox.cache] if sandbox.cache else [])]


def _folders(path: Path) -> list[Argument]:
    """The folders above it, which everybody may enter."""
    return [word for folder in reversed(path.parents[:-1]) for word in ("--perms", "0755", "--dir", folder)]


def _inner(sandbox: Sandbox) -> list[Argument]:
    """What takes root and the network away, begun by guard.py in the namespaces that it has made."""
    wall: list[Argument] = ["bwrap", "--die-with-parent", "--new-session", "--assert-userns-disabled", "--unshare-pid", "--unshare-ipc"]
    wall += ["--dev-bind", "/", "/", "--proc", "/proc"]
    for name in _ONLY_OUTER:
        if Path(name).exists():
            wall += ["--ro-bind", OURS / "empty", name]
    if (tree := sandbox.tree) is not None:
        wall += ["--proc", tree / "proc", "--dev-bind", "/dev", tree / "dev"]
        wall += ["--perms", "0755", "--size", str(SHARED_MEMORY), "--tmpfs", tree / "run"]
        wall += ["--bind", sandbox.scratch / "tree-tmp", tree / "tmp"]
        for program in ("usr/sbin/service", "sbin/start-stop-daemon"):
            wall += ["--ro-bind", OURS / "nothing-starts", tree / program]
        if sandbox.cache:
            wall += ["--bind", sandbox.cache, tree / "mnt"]
    if not sandbox.mounts:
        wall += ["--cap-drop", "ALL", *(word for name in CAPABILITIES for word in ("--cap-add", f"CAP_{name}"))]
    wall += ["--clearenv"]
    for name, value in _environment(sandbox).items():
        wall += ["--setenv", name, value]
    wall += ["--chdir", REPOSITORY, "--"]
    if not sandbox.mounts:  # nor can a program of root's get more than bubblewrap has left to this one
        wall += ["setpriv", f"--bounding-set=-all,{','.join(f'+{name.lower()}' for name in CAPABILITIES)}", "--"]
    return wall


def _environment(sandbox: Sandbox) -> dict[str, str]:
    path = os.pathsep.join([f"{sys.prefix}/bin", "/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"])
    proxy = dict.fromkeys(("http_proxy", "https_proxy"), PROXY) if sandbox.hosts else {}
    plain = {"PATH": path, "HOME": "/tmp", "TMPDIR": "/tmp", "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1"}  # noqa: S108
    return {**plain, **proxy, **sandbox.environment}
