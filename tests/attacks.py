"""What a hostile role tries, from wherever it has got to run: prints, as JSON, how each attempt ended: "refused: ..." or what it got.

    python3 attacks.py '{"secrets": [files], "sockets": [files], "abstract": NAME, "port": of a listener on the host's loopback, "victim": pid}'
It needs nothing but Python, because it also runs in a seed's tree.
"""

import ctypes
import functools
import json
import os
import socket
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

LIBC = ctypes.CDLL(None, use_errno=True)
NUMBERS = {"init_module": 175, "reboot": 169, "kexec_load": 246, "bpf": 321, "settimeofday": 164, "swapon": 167, "sethostname": 170}
GIVEN = json.loads(sys.argv[1])


def system_call(name: str, *arguments: Any) -> str:
    if LIBC.syscall(NUMBERS[name], *arguments) < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return "done"


def mount(source: str, target: str, kind: str, flags: int = 0) -> str:
    if LIBC.mount(source.encode(), target.encode(), kind.encode(), flags, None):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return "mounted"


def unshare(flags: int) -> str:
    if LIBC.unshare(flags):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return "unshared"


def connect(family: socket.AddressFamily, address: Any) -> str:
    with socket.socket(family, socket.SOCK_STREAM) as one:
        one.settimeout(3)
        one.connect(address)
    return "connected"


def node() -> bytes:
    os.mknod("/tmp/disk", 0o60600, os.makedev(254, 0))
    return Path("/tmp/disk").open("rb").read(1)


def escape() -> list[str]:
    """Out of a chroot as of old, and then for the first secret."""
    Path("/tmp/jail").mkdir(exist_ok=True)
    above = os.open("/", os.O_RDONLY)
    os.chroot("/tmp/jail")
    os.fchdir(above)
    for _ in range(64):
        os.chdir("..")
    os.chroot(".")
    return [Path(file).read_text() for file in GIVEN["secrets"]]


def above() -> str:
    """What of the host's processes is seen."""
    os.kill(GIVEN["victim"], 0)
    return Path(f"/proc/{GIVEN['victim']}/environ").read_text()


def outside() -> str:
    proxy = urllib.request.ProxyHandler({"http": "http://127.0.0.1:3128"})
    address = f"http://127.0.0.1:{GIVEN['port']}/"
    return str(urllib.request.build_opener(proxy).open(address, timeout=5).read())


WRITTEN = ("/proc/sysrq-trigger", "/proc/sys/kernel/hostname", "/proc/sys/kernel/core_pattern", "/proc/sys/user/max_user_namespaces")
ATTEMPTS: dict[str, Callable[[], Any]] = {
    **{f"read {file}": Path(file).read_text for file in (*GIVEN["secrets"], "/proc/kcore", "/proc/1/root/etc/shadow")},
    **{f"write {file}": functools.partial(Path(file).write_text, "x") for file in (*GIVEN["secrets"], *WRITTEN)},
    **{f"connect to {file}": functools.partial(connect, socket.AF_UNIX, file) for file in GIVEN["sockets"]},
    "connect to an abstract socket": lambda: connect(socket.AF_UNIX, "\0" + GIVEN["abstract"]),
    "connect to the host": lambda: connect(socket.AF_INET, ("127.0.0.1", GIVEN["port"])),
    "connect to the internet": lambda: connect(socket.AF_INET, ("192.0.2.1", 80)),
    "connect by the proxy": outside,
    "mount a file system": lambda: mount("none", "/tmp", "tmpfs"),
    "mount /proc": lambda: mount("none", "/tmp", "proc"),
    "mount the disk": lambda: mount("/dev/vda", "/tmp", "ext4"),
    "unshare a user namespace": lambda: unshare(0x10000000),
    "unshare a mount namespace": lambda: unshare(0x20000),
    "make a node": node,
    "open a disk": lambda: next(Path("/dev").glob("[vs]da")).open("rb").read(1),
    "open /dev/kvm": lambda: os.open("/dev/kvm", os.O_RDWR),
    "open /dev/mem": lambda: os.open("/dev/mem", os.O_RDWR),
    "load a module": lambda: system_call("init_module", b"x", 1, b""),
    "load a program into the kernel": lambda: system_call("bpf", 5, b"\0" * 128, 128),
    "start another kernel": lambda: system_call("kexec_load", 0, 0, 0, 0),
    "restart": lambda: system_call("reboot", 0xFEE1DEAD, 672274793, 0x01234567, 0),
    "set the clock": lambda: system_call("settimeofday", b"\0" * 16, 0),
    "name the host": lambda: system_call("sethostname", b"x", 1),
    "a process of the host's": above,
    "leave the root directory": escape,
}


def main() -> None:
    found = {"uid": os.getuid(), "environment": dict(os.environ)}
    for name, attempt in ATTEMPTS.items():
        try:
            found[name] = f"got {attempt()!r}"
        except (OSError, StopIteration, ValueError) as error:
            found[name] = f"refused: {error!r}"
    print(json.dumps(found))


main()
