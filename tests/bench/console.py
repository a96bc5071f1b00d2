"""Screens must not starve pages: how long the portal takes while many consoles carry a lot, against the same portal while there are none.

nginx, the web process and dpe-console are real; what machines say comes from a server here, and what browsers hear is read and thrown away, so that neither costs much.
"""

import contextlib
import json
import socket
import ssl
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from appliance import catalog
from appliance.catalog import Account, Machine, MachineState, machines
from appliance.settings import Settings
from tests.bench.claim import Person, _ready, serving

CONSOLES, TIMES = 40, 400
RATE = 10_000_000  # bytes a second in all
SMALLEST = {"CONSOLES": 2, "TIMES": 10, "RATE": 500_000}
EACH = 10  # consoles that a person has open
PORT = 5901
FRAMES = 12  # a second, of each screen


class Screens:
    """What all machines draw, and all browsers are shown."""

    def __init__(self) -> None:
        self.over = threading.Event()
        self._shown: dict[str, int] = {}  # bytes, by machine
        self._threads: list[threading.Thread] = []

    def _begin(self, target: Any, *about: Any) -> None:
        self._threads.append(thread := threading.Thread(target=target, args=about))
        thread.start()

    def serve(self, address: str) -> None:
        server = socket.create_server((address, PORT))

        def draw() -> None:
            with server, contextlib.suppress(OSError):
                connected, _ = server.accept()
                with connected:
                    frame = bytes(RATE // CONSOLES // FRAMES)
                    while not self.over.wait(1 / FRAMES):
                        connected.sendall(frame)

        self._begin(draw)

    def look(self, person: Person, machine: Machine) -> None:
        """Open a console as its page does, and read what comes."""
        form = {"target": f"vnc/{PORT}", "csrf_token": person.csrf}
        status, body = person.ask("POST", f"/machines/{machine.id}/console/ticket", form)
        assert status == 200, body
        context = ssl.create_default_context(cafile=str(person.settings.tls / "appliance.crt"))
        raw = socket.create_connection(("127.0.0.1", person.settings.https_port))
        stream = context.wrap_socket(raw, server_hostname="127.0.0.1")
        lines = [
            f"GET /ws/{machine.id}/vnc/{PORT}?ticket={json.loads(body)['ticket']} HTTP/1.1", f"Host: {person.host}", f"Cookie: {person.cookie}",
            f"Origin: https://{person.host}", "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==", "", "",
        ]  # fmt: skip
        stream.sendall("\r\n".join(lines).encode())
        assert b" 101 " in stream.recv(4096)

        def read() -> None:
            room = bytearray(1 << 20)
            stream.settimeout(1)
            with stream:
                while not self.over.is_set():
                    with contextlib.suppress(TimeoutError):
                        got = stream.recv_into(room)
                        self._shown[machine.id] = self._shown.get(machine.id, 0) + got

        self._begin(read)

    @property
    def shown(self) -> int:
        """Bytes so far."""
        return sum(self._shown.copy().values())

    def end(self) -> None:
        self.over.set()
        for thread in self._threads:
            thread.join()


@contextmanager
def consoles(settings: Settings) -> Iterator[Screens]:
    """All of them open, each at a machine of its own."""
    _ready(CONSOLES)
    held = list(Machine.select().where(Machine.state == MachineState.READY).limit(CONSOLES))
    owners = list(Account.select().where(Account.name.startswith("person")).order_by(Account.id))[1:]
    with catalog.write():
        for number, machine in enumerate(held):
            machines.change(machine.id, [MachineState.READY], MachineState.IN_USE, owner=owners[number // EACH])
    screens, people = Screens(), [Person(settings, owner.name) for owner in owners[: 1 + (CONSOLES - 1) // EACH]]
    try:
        for number, machine in enumerate(held):
            screens.serve(settings.address(machine.slot))
            screens.look(people[number // EACH], machine)
        yield screens
    finally:
        screens.end()


def _p99(person: Person) -> float:
    """Seconds, of the portal's first byte."""
    return statistics.quantiles((person.first_byte("/") for _ in range(TIMES)), n=100)[98]


def run() -> Iterator[dict[str, Any]]:
    with serving("console", subnet="127.88.0.0/16") as settings:
        person = Person(settings, "person0")
        _p99(person)  # the first requests of a server are not like the others
        idle = _p99(person)
        with consoles(settings) as screens:
            begun, before = time.perf_counter(), screens.shown
            busy = _p99(person)
            rate = (screens.shown - before) / (time.perf_counter() - begun) / 1e6
    yield {
        "name": "console.portal",
        "value": round(busy / idle, 2),
        "unit": f"times the portal's p99 while {CONSOLES} consoles carry {rate:.1f} MB/s",
        "baseline": "seconds, its p99 while there are none",
        "baseline_value": round(idle, 5),
        "ratio": round(idle / busy, 3),
    }
