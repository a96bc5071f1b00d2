"""What libvirt has no verb for, said to QEMU's own monitor (QMP): a machine's device state, out of it and into it.

The stream is QEMU's own migration, over a Unix socket, without the memory, which is a file already
(capability x-ignore-shared). Source: qemu.org, "Migration framework" and "QEMU QMP reference".
"""

import contextlib
import json
import os
import shutil
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import libvirt
import libvirt_qemu

from appliance.errors import Unavailable

LARGEST_STATE = 256 << 20  # bytes; it is usually half a megabyte
STALLED = 60  # seconds without a byte, or without an answer


def say(domain: libvirt.virDomain, command: str, **arguments: Any) -> Any:
    """One QMP command, and what it returned. Raises Unavailable when QEMU refuses it."""
    answer = json.loads(libvirt_qemu.qemuMonitorCommand(domain, json.dumps({"execute": command, "arguments": arguments}), 0))
    if "error" in answer:
        raise Unavailable(f"QEMU refused {command} for {domain.name()}: {answer['error'].get('desc')}.")
    return answer["return"]


@contextlib.contextmanager
def _socket(path: Path) -> Iterator[socket.socket]:
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX) as made:
        made.settimeout(STALLED)
        try:
            yield made
        finally:
            path.unlink(missing_ok=True)


def _leave_memory(domain: libvirt.virDomain, *, out: bool) -> None:
    say(domain, "migrate-set-capabilities", capabilities=[{"capability": "x-ignore-shared", "state": out}])


def keep_state(domain: libvirt.virDomain, path: Path, into: Path, owner: str) -> None:
    """Write the device state of a paused machine to the file `into`; `path` is for a socket that `owner`, QEMU's user, may use."""
    _leave_memory(domain, out=True)
    with _socket(path) as listening, into.open("wb") as out:
        listening.bind(os.fspath(path))
        shutil.chown(path, owner)
        listening.listen(1)
        say(domain, "migrate", uri=f"unix:{path}")
        try:
            stream, _ = listening.accept()
            with stream:
                stream.settimeout(STALLED)
                while chunk := stream.recv(1 << 16):
                    if out.tell() > LARGEST_STATE:
                        raise Unavailable(f"The device state of {domain.name()} does not end.")
                    out.write(chunk)
        except TimeoutError as error:
            raise Unavailable(f"QEMU did not hand over the device state of {domain.name()}.") from error
    deadline = time.monotonic() + STALLED
    while (status := say(domain, "query-migrate").get("status")) not in ("completed", "failed", "cancelled"):
        if time.monotonic() > deadline:
            break
        time.sleep(0.02)  # QEMU tells libvirt alone when it is done
    if status != "completed":
        raise Unavailable(f"QEMU could not write the device state of {domain.name()} ({status}).")


def load_state(domain: libvirt.virDomain, path: Path, state: bytes) -> None:
    """Give a machine that was started with `-incoming defer` its device state; it is paused afterwards. `path` is for a socket, in a folder where QEMU may make one."""
    _leave_memory(domain, out=True)
    try:
        with _socket(path) as stream:
            say(domain, "migrate-incoming", uri=f"unix:{path}")
            stream.connect(os.fspath(path))
            stream.sendall(state)
            # QEMU closes its end when all is loaded; one that could not load it goes off.
            stream.recv(1)
    except (OSError, TimeoutError) as error:
        raise Unavailable(f"QEMU did not take the device state of {domain.name()}: {error}.") from error
    deadline = time.monotonic() + STALLED
    try:
        while (status := say(domain, "query-status")["status"]) == "inmigrate" and time.monotonic() < deadline:
            time.sleep(0.002)
        if status != "paused":
            raise Unavailable(f"{domain.name()} is {status} instead of paused after its device state was loaded.")
        _leave_memory(domain, out=False)  # of what libvirt saves from now on
    except libvirt.libvirtError as error:
        # A fork that is off is forgotten at once.
        if error.get_error_domain() != libvirt.VIR_FROM_QEMU and error.get_error_code() != libvirt.VIR_ERR_NO_DOMAIN:
            raise
        raise Unavailable(f"QEMU went off over the device state of {domain.name()}: {error.get_error_message()}.") from error
