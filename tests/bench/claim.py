"""Claims: 500 of them by 50 people at once over HTTPS through the front door, against the same 500 one after the other.

The machines are rows; a claim never touches the hypervisor. And the page of 10,000 machines, against the same page of 100.
"""

import fcntl
import re
import socket
import ssl
import statistics
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from appliance import catalog, layout
from appliance.catalog import Account, Class, Engine, Grant, Machine, MachineState, Seed, SeedState, database, machines, options
from appliance.catalog import seeds as seed_rows
from appliance.identity import passwords
from appliance.settings import Settings, load
from appliance.supervisor import Appliance
from tests.seeds import cached_seed, place, small_scenario

PEOPLE, EACH, LISTED = 50, 10, 10_000
SMALLEST = {"PEOPLE": 3, "EACH": 2, "LISTED": 120}
PASSWORD = "correct horse battery"


@contextmanager
def _ports() -> Iterator[int]:
    """The first of some ports for applications that no other of these has, nor gives to a program that asks for any."""
    for number in range(35):
        with Path(tempfile.gettempdir(), f"dpe-ports-{number}").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            yield 22000 + 300 * number
            return
    raise AssertionError("so many front doors at once are too many")


@contextmanager
def serving(*parts: str, whole: bool = False, **changes: Any) -> Iterator[Settings]:
    """The web page behind the front door over a catalog that was set up; `changes` are of settings.

    Unless it is the `whole` appliance, there is no engine and no hypervisor, and the machines that are wanted are rows; of the other
    processes there are those named in `parts`.
    """
    with tempfile.TemporaryDirectory(prefix="dpe-bench-") as folder, socket.socket() as probe, _ports() as first:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        values = {
            "state": Path(folder) / "s",
            "listen": "127.0.0.1",
            "https_port": port,
            "app_port": first,
            "slots": 50,
            "network": "bench",
        }
        settings = load({}, **{**values, **changes})
        probe.close()
        Path(folder).chmod(0o711)  # the web process is another user
        layout.prepare(settings)
        catalog.open(settings.catalog)
        _fill(buffer=0 if whole else 1000)
        if whole:
            Seed.update(stored=True, manifest=place(cached_seed(), settings).manifest).execute()
        appliance = Appliance(settings)
        appliance.children = [child for child in appliance.children if whole or child.name in ("web", "relay", "nginx", *parts)]
        try:
            appliance.start()
            yield settings
        finally:
            for child in reversed(appliance.children):
                child.stop()
            appliance.close()
            catalog.close()


def _fill(*, buffer: int) -> None:
    described = small_scenario().classes["small"]
    hashed = passwords.digest(PASSWORD)
    with catalog.write():
        options.put("setup_done", True)
        machine_class = Class.create(
            name="small", spec=described.model_dump(mode="json"), minimum=0, maximum=10_000, buffer=buffer,
            lease_minutes=60, extend_minutes=30, extensions=1, per_person=1000,
        )  # fmt: skip
        seed_rows.promote(Seed.create(machine_class=machine_class.name, version=1, state=SeedState.READY))
        Grant.create(role="owner", account=Account.create(name="admin", password=hashed))
        for n in range(PEOPLE):
            Account.create(name=f"person{n}", password=hashed)
        Engine.create(id=1, hypervisor_ok=True, hypervisor_problem="", host={})


def _ready(count: int) -> None:
    machine_class, seed = Class.get(), Seed.get()
    with catalog.write():
        first = Machine.select().count()
        for slot in range(first, first + count):
            machine = machines.create(machine_class, seed, str(uuid.uuid4()), slot)
            machines.change(machine.id, [MachineState.PLANNED], MachineState.READY)


class Person:
    """A browser reduced to one TLS connection, a cookie and a CSRF token; its own cost must not be what is measured."""

    def __init__(self, settings: Settings, name: str = "") -> None:
        self.settings = settings
        self.cookie = ""
        self.go_to(settings.https_port)
        if name:
            assert self.sign_in(name)[0] == 303
            self.csrf = self._token(self.get("/"))

    def sign_in(self, name: str) -> tuple[int, bytes]:
        """What the page says to this name; nobody is signed in yet."""
        form = {"name": name, "password": PASSWORD, "csrf_token": self._token(self.get("/sign-in"))}
        return self.ask("POST", "/sign-in", form)

    def go_to(self, port: int) -> None:
        """Go on at another port of the front door."""
        self.close()
        try:
            self.socket = self._connected(port)
        except ConnectionResetError:  # a browser tries again, too, when nginx was told to read its configuration anew just then
            self.socket = self._connected(port)
        self.host = f"127.0.0.1:{port}"

    def _connected(self, port: int) -> ssl.SSLSocket:
        context = ssl.create_default_context(cafile=str(self.settings.tls / "appliance.crt"))
        raw = socket.create_connection(("127.0.0.1", port))
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return context.wrap_socket(raw, server_hostname="127.0.0.1")

    def close(self) -> None:
        """Hang up."""
        if hasattr(self, "socket"):
            self.socket.close()

    def _token(self, page: bytes) -> str:
        found = re.search(rb'name="csrf_token"[^>]*value="([^"]+)"', page)
        assert found, page[:500]
        return found[1].decode()

    def get(self, path: str) -> bytes:
        status, body = self.ask("GET", path)
        assert status == 200, body[:500]
        return body

    def ask(self, method: str, path: str, form: dict[str, str] | None = None, headers: Sequence[str] = ()) -> tuple[int, bytes]:
        """One request on the kept connection; returns status and body."""
        content = urlencode(form).encode() if form else b""
        lines = [f"{method} {path} HTTP/1.1", f"Host: {self.host}", f"Cookie: {self.cookie}", f"Content-Length: {len(content)}", *headers]
        if form:
            lines += ["Content-Type: application/x-www-form-urlencoded", f"Origin: https://{self.host}"]
        self.socket.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + content)
        return self._answer(b"")

    def _answer(self, got: bytes) -> tuple[int, bytes]:
        """Status and body, read to their end."""
        head, _, body = self._until(got, lambda got: b"\r\n\r\n" in got).partition(b"\r\n\r\n")
        for cookie in re.findall(rb"(?mi)^set-cookie: ([^;\r]+)", head):
            self.cookie = cookie.decode()
        if length := re.search(rb"(?mi)^content-length: (\d+)", head):
            body = self._until(body, lambda got: len(got) >= int(length[1]))
        elif re.search(rb"(?mi)^transfer-encoding: chunked", head):
            body = self._until(body, lambda got: got.endswith(b"0\r\n\r\n"))
        return int(head.split()[1]), body

    def _until(self, got: bytes, enough: Callable[[bytes], bool]) -> bytes:
        while not enough(got):
            more = self.socket.recv(65536)
            assert more, got
            got += more
        return got

    def claim(self) -> float:
        begun = time.perf_counter()
        status, body = self.ask("POST", "/request", {"class": "small", "csrf_token": self.csrf})
        assert status == 303, (status, body[:300])
        return time.perf_counter() - begun

    def first_byte(self, path: str) -> float:
        begun = time.perf_counter()
        self.socket.sendall(f"GET {path} HTTP/1.1\r\nHost: {self.host}\r\nCookie: {self.cookie}\r\n\r\n".encode())
        got = self.socket.recv(1)
        took = time.perf_counter() - begun
        status, body = self._answer(got)
        assert status == 200, body[:500]
        return took


def at_once(people: list[Person]) -> list[float]:
    """All people claim at the same time, each as fast as answers come."""
    times: list[float] = []
    start = threading.Barrier(len(people))

    def work(person: Person) -> None:
        start.wait()
        mine = [person.claim() for _ in range(EACH)]
        times.extend(mine)

    threads = [threading.Thread(target=work, args=(person,)) for person in people]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return times


def _result(name: str, value: float, unit: str, baseline: str, baseline_value: float) -> dict[str, Any]:
    ratio = baseline_value / value if value else 1.0
    return {
        "name": name,
        "value": round(value, 5),
        "unit": unit,
        "baseline": baseline,
        "baseline_value": round(baseline_value, 5),
        "ratio": round(ratio, 3),
    }


def run() -> Iterator[dict[str, Any]]:
    with serving() as settings:
        people = [Person(settings, f"person{n}") for n in range(PEOPLE)]
        total = PEOPLE * EACH
        _ready(2 * total + 100)
        people[0].claim()  # the first request of a server is not like the others
        alone = [person.claim() for _ in range(EACH) for person in people]
        together = at_once(people)
        assert len(together) == total
        for name, point in (("p50", 50), ("p99", 99)):
            value, base = (statistics.quantiles(times, n=100)[point - 1] for times in (together, alone))
            yield _result(f"claim.{name}", value, "s", f"the same {total} claims one after the other", base)
        double = len(database.rows("SELECT machine_id FROM lease WHERE ended_at IS NULL GROUP BY machine_id HAVING count(*) > 1"))
        assert Machine.select().where(Machine.state == MachineState.ASSIGNED).count() == 2 * total + 1
        yield _result("claim.double", double, "machines with two owners", f"the same {total} claims one after the other", 0)
        admin = Person(settings, "admin")
        Machine.update(state=MachineState.RETIRED).where(Machine.number > 100).execute()
        few = statistics.median(admin.first_byte("/admin/machines/") for _ in range(20))
        Machine.update(state=MachineState.READY).where(Machine.state == MachineState.RETIRED).execute()
        _ready(LISTED - Machine.select().count())
        many = statistics.median(admin.first_byte("/admin/machines/") for _ in range(20))
        yield _result(f"claim.page_{LISTED}", many, "s to the first byte", "the same page of 100 machines", few)
