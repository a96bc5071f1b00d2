"""The bare limit of a fork: the very QEMU that libvirt would start, of the same snapshot, without libvirt.

Its command line is libvirt's own for the machine; only its sockets are ours, and its card has no network to be on.
"""

import json
import re
import shlex
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from appliance.hypervisor.libvirt import snapshot_files, xml
from appliance.hypervisor.libvirt.snapshots import _forked_memory
from appliance.hypervisor.provider import MachineSpec
from appliance.run import run
from tests.integration.conftest import Libvirtd


class Monitor:
    """QMP over the socket that QEMU opened to us."""

    def __init__(self, connection: socket.socket) -> None:
        self._file = connection.makefile("rw")
        assert "QMP" in self._read()
        self.say("qmp_capabilities")

    def _read(self) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self._file.readline())
        return answer

    def say(self, command: str, **arguments: Any) -> Any:
        """One command, and what it returned."""
        self._file.write(json.dumps({"execute": command, "arguments": arguments}) + "\n")
        self._file.flush()
        while "return" not in (answer := self._read()):
            assert "error" not in answer, answer
        return answer["return"]


def command_line(libvirtd: Libvirtd, spec: MachineSpec, disk: Path, folder: Path) -> list[str]:
    """What libvirt would start for the fork; whatever it would make in its own folders is made in `folder`."""
    provider = libvirtd.provider
    assert spec.snapshot is not None
    memory = provider.layout.snapshot(spec.snapshot) / snapshot_files.MEMORY
    with provider._connection.use() as connection:
        described = provider._describe(spec, connection, _forked_memory(memory, connection), disk)
        text = connection.domainXMLToNative("qemu-argv", xml.to_text(described.to_xml()))
    words = shlex.split(text)
    while "=" in words[0]:
        del words[0]  # its environment
    secret = next(number for number, word in enumerate(words) if '"qom-type":"secret"' in word)
    del words[secret - 1 : secret + 1]
    at = (folder / "monitor").as_posix()
    for number, word in enumerate(words):
        if "charmonitor,path=" in word:
            words[number] = re.sub(r"path=[^,]*,server=on,wait=off", f"path={at}", word)
        elif word.startswith(("socket,id=", "vnc=unix:", "unix:")):
            words[number] = re.sub(r"(path=|unix:)[^,]*", rf"\g<1>{(folder / f's{number}').as_posix()}", word)
        words[number] = re.sub(r"logfile=[^,]*", f"logfile={(folder / 'serial.log').as_posix()}", words[number])
    return words


@contextmanager
def forked(libvirtd: Libvirtd, spec: MachineSpec) -> Iterator[subprocess.Popen[bytes]]:
    """A fork of the snapshot, paused as the product leaves one, with a card."""
    assert spec.snapshot is not None
    below = libvirtd.provider.layout.snapshot(spec.snapshot)
    with tempfile.TemporaryDirectory(prefix="dpe-bare-") as name, socket.socket(socket.AF_UNIX) as listening:
        folder = Path(name)
        disk, state = folder / "disk.qcow2", folder / "state"
        words = command_line(libvirtd, spec, disk, folder)
        listening.bind(str(folder / "monitor"))
        listening.listen(1)
        size = str(spec.disk_size << 30)
        run(["qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", below / snapshot_files.DISK, disk, size])
        process = subprocess.Popen(words, stdout=subprocess.DEVNULL)
        try:
            monitor = Monitor(listening.accept()[0])
            monitor.say("migrate-set-capabilities", capabilities=[{"capability": "x-ignore-shared", "state": True}])
            with socket.socket(socket.AF_UNIX) as stream:
                monitor.say("migrate-incoming", uri=f"unix:{state}")
                stream.connect(str(state))
                stream.sendall((below / snapshot_files.STATE).read_bytes())
                stream.recv(1)
            while monitor.say("query-status")["status"] == "inmigrate":
                pass
            monitor.say("netdev_add", type="user", id="net", restrict=True)
            monitor.say("device_add", driver="virtio-net-pci", id="card", netdev="net", mac=spec.card.mac, bus="pci.5")
            yield process
            monitor.say("quit")
            process.wait()
        finally:
            process.kill()
            process.wait()
