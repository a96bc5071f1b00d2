"""Between the two walls of a sandbox: makes the inner one, starts the program in it, and ends what goes beyond its limits.

    python -m appliance.seeds.guard JOB
JOB is JSON, as sandbox.confined() writes it. This is root's, in the outer wall; what runs in the inner one cannot see it. It ends with the program's
status. What it ended, it says on standard output, one JSON object a line: {"kind": "stopped", "reason": "..."}.
"""

import ctypes
import fcntl
import json
import os
import resource
import select
import socket
import struct
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from appliance import run
from appliance.seeds import proxy
from appliance.seeds.sandbox import FIRST, IDS, PROXY

NEWUSER, NEWNET = 0x10000000, 0x40000000  # of <linux/sched.h>
SIOCSIFFLAGS, UP = 0x8914, 0x1
EVERY = 0.1  # seconds between two looks
MOST_FILES = 8192  # that a process has open
DISK_FULL = "No space left on device"  # as the kernel says it
LEAST_MEMORY = 128  # MiB
LEAST_NAMES = 1000  # that must be left where it writes, of files


def main() -> int:
    job = json.loads(sys.argv[1])
    limits = job["limits"]
    for what, most in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, limits["file"] << 20),
        (resource.RLIMIT_NOFILE, MOST_FILES),
        (resource.RLIMIT_NPROC, 2 * limits["processes"]),  # of one account; it is ended before
    ):
        resource.setrlimit(what, (most, most))
    Path("/proc/self/oom_score_adj").write_text("1000")  # where memory ends, this is the first to go
    users, network, listener = _namespaces()
    if job["hosts"]:
        proxy.serve(listener, frozenset(job["hosts"]))
    else:
        listener.close()
    ours = Path(f"/proc/{os.getpid()}/fd")  # by name, so that the program has no handle of either
    process = run.start(["nsenter", f"--user={ours / str(users)}", f"--net={ours / str(network)}", "--", *job["command"]])
    ended = os.pidfd_open(process.pid)
    until = time.monotonic() + limits["seconds"]
    while not select.select([ended], [], [], EVERY)[0]:
        if reason := too_far(limits, job["disks"], late=time.monotonic() > until):
            print("\n" + json.dumps({"kind": "stopped", "reason": reason}), flush=True)
            return 1  # all the rest dies with it
    return process.wait()


def too_far(limits: Mapping[str, Any], disks: Sequence[str], *, late: bool) -> str:
    """Why it is ended; empty while it is within its limits."""
    if late:
        return f"it did not end within {limits['seconds'] / 60:.0f} minutes"
    for found in map(os.statvfs, disks):
        if found.f_bavail * found.f_frsize >> 20 < limits["free"] or (found.f_files and found.f_favail < LEAST_NAMES):
            return f"{DISK_FULL}: less than {limits['free']} MiB"
    processes = [entry for entry in os.scandir("/proc") if entry.name.isdecimal()]
    if len(processes) > limits["processes"]:
        return f"it had more than {limits['processes']} processes"
    if sum(_number(Path(entry.path) / "status", "RssAnon:") for entry in processes) >> 10 > limits["memory"]:
        return f"it had more than {limits['memory']} MiB in memory"
    if _number(Path("/proc/meminfo"), "MemAvailable:") >> 10 < LEAST_MEMORY:  # some of what it takes is the kernel's, and nobody's
        return f"the host had less than {LEAST_MEMORY} MiB of memory left"
    return ""


def _number(file: Path, name: str) -> int:
    """The number on the line of that name; 0 where it is missing, or its process has ended."""
    try:
        lines = file.read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith(name)), 0)


def _namespaces() -> tuple[int, int, socket.socket]:
    """Make the user and the network namespace; returns a handle of each, and where the proxy is asked, in the latter."""
    ours, theirs = socket.socketpair()
    child = os.fork()
    if not child:
        try:
            _make(theirs)
        finally:
            os._exit(1)
    theirs.close()
    _, handles, *_ = socket.recv_fds(ours, 1, 3)
    if len(handles) != 3:
        raise OSError("The kernel makes no user namespace: see user.max_user_namespaces.")
    for file in ("uid_map", "gid_map"):
        Path(f"/proc/{child}/{file}").write_text(f"0 {FIRST} {IDS}\n")
    ours.send(b".")
    ours.close()
    os.waitpid(child, 0)
    return handles[0], handles[1], socket.socket(fileno=handles[2])


def _make(theirs: socket.socket) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(NEWUSER | NEWNET):
        raise OSError(ctypes.get_errno(), "unshare")
    Path("/proc/sys/user/max_user_namespaces").write_text("0")  # of this one: none is made in it
    address = urlsplit(PROXY)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", UP))
    listener = socket.create_server((address.hostname, address.port))
    handles = [os.open(f"/proc/self/ns/{kind}", os.O_RDONLY) for kind in ("user", "net")]
    socket.send_fds(theirs, [b"."], [*handles, listener.fileno()])
    theirs.recv(1)  # until it is mapped


if __name__ == "__main__":
    sys.exit(main())
