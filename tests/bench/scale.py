"""Scale: what a tick of the engine, the pages, the front door and a claim cost with 100, 1,000 and 10,000 machines alive.

The engine, the catalog, the web page and the front door are the real ones. So is the provider, as far as libvirt's test
driver goes: it lists, reads and tells of the host. It has no QEMU, no agent and no network, so whatever would make, reach
or remove a machine only waits. The catalog remembers two retired machines for each that is alive, and five events of each.
"""

import http.server
import threading
import time
import uuid
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from concurrent.futures import wait
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, NoReturn

from peewee import Model

from appliance import catalog
from appliance.catalog import (
    Account,
    Class,
    Event,
    Lease,
    Machine,
    MachineState,
    Reading,
    Request,
    RequestState,
    Run,
    Seed,
    SeedState,
    Snapshot,
    SnapshotState,
    database,
    now,
)
from appliance.catalog import machines as machine_rows
from appliance.catalog import seeds as seed_rows
from appliance.engine import Engine
from appliance.errors import Conflict
from appliance.hypervisor.libvirt.connection import Connection
from appliance.hypervisor.libvirt.provider import LibvirtProvider
from appliance.hypervisor.provider import HostFacts
from appliance.settings import Settings
from tests.bench.claim import Person, serving

SIZES = (100, 1000, 10_000)
CLASSES = ("small", "desktop", "notebook", "studio", "website")
WAITING, LEAVING = 20, 30
SMALLEST = {"SIZES": (100, 110, 120), "TIMES": 1}
TIMES = 15
TEST_DRIVER = "http://libvirt.org/schemas/domain/test/1.0"
PAUSED = 3

# Of twenty machines: state, readiness, and whether the hypervisor has it.
MIX = [
    *[(MachineState.IN_USE, "paused", True)] * 10,
    *[(MachineState.READY, "paused", True)] * 8,
    (MachineState.READY, "running", True),
    (MachineState.READY, "cold", False),
]


class TestDriver(LibvirtProvider):
    """The product's provider on libvirt's test driver."""

    def __init__(self, settings: Settings, file: Path) -> None:
        super().__init__(settings)
        self._connection = Connection(f"test://{file}")
        self.over = threading.Event()

    def host(self) -> HostFacts:
        """The host, with all the memory and disk that its machines could want."""
        return replace(super().host(), memory=1 << 30, memory_available=1 << 30, disk_free=1 << 30)

    def _wait(self, *_: object, **__: object) -> NoReturn:
        self.over.wait()
        raise Conflict("The benchmark is over.")

    def check_snapshot(self, *_: object) -> None: ...

    clone = start = fork = wait = execute = suspend = destroy = _wait  # type: ignore[assignment]


def _insert(model: type[Model], rows: list[dict[str, Any]]) -> None:
    for at in range(0, len(rows), 500):
        model.insert_many(rows[at : at + 500]).execute()  # type: ignore[no-untyped-call]


def fill(size: int) -> None:
    """`size` machines alive, each class with its part, and their past."""
    begun = now() - timedelta(days=1)
    spec = Class.get().spec
    with catalog.write():
        _insert(Account, [{"name": f"holder{n}", "password": "!", "created_at": begun} for n in range(size // 10)])
        holders = [row.id for row in Account.select(Account.id).where(Account.name.startswith("holder"))]
        for name in CLASSES[1:]:
            Class.create(
                name=name, spec=spec, minimum=0, maximum=0, buffer=0, lease_minutes=60, extend_minutes=30, extensions=1, per_person=1000,
            )  # fmt: skip
            seed_rows.promote(Seed.create(machine_class=name, version=1, state=SeedState.READY))
        Seed.update(stored=True).execute()
        seeds = {seed.class_name: seed.id for seed in list(Seed.select())}
        snapshots = {name: Snapshot.create(seed=seed, state=SnapshotState.READY).id for name, seed in seeds.items()}
        machines, leases, readings, events = [], [], [], []
        for number in range(1, 3 * size + 1):
            alive = number > 2 * size
            state, readiness, _ = MIX[number % 20] if alive else (MachineState.RETIRED, "paused", False)
            name = CLASSES[number // 20 % 5]
            id, owner = str(uuid.UUID(int=number)), holders[number % len(holders)] if state is MachineState.IN_USE else None
            machines.append(
                {
                    "number": number, "id": id, "name": f"{name}-{number}", "machine_class": name, "seed": seeds[name], "snapshot": snapshots[name], "slot": (number - 1) % size, "door": (number - 1) % size,
                    "state": state, "state_since": begun, "vcpus": 1, "memory": 512, "disk": 8, "owner": owner, "origin": "fork",
                    "readiness": readiness, "step": "", "problem": "", "attempts": 0, "reclaim_reason": "", "created_at": begun,
                    "ready_at": begun,
                }
            )  # fmt: skip
            if owner or not alive:
                ended = {} if alive else {"ended_at": begun, "end_reason": "released"}
                ends = now() + timedelta(days=1 + number % 30)
                leases.append(
                    {"machine": id, "account": owner or holders[0], "began_at": begun, "ends_at": ends, "extensions": 0, "end_reason": ""}
                    | {"ended_at": None}
                    | ended
                )
            if alive:
                readings.append({"machine": id, "at": begun, "cpu": 0.1, "memory_used": 200, "disk_rate": 0.0, "net_rate": 0.0})
            kinds = ("planned", "creating", "ready", "assigned", "in_use")
            events += [
                {"at": begun, "kind": f"machine.{kind}", "message": f"{name}-{number} is {kind}.", "class_name": name, "machine_id": id}
                for kind in kinds
            ]
        for model, rows in ((Machine, machines), (Lease, leases), (Reading, readings), (Event, events)):
            _insert(model, rows)
        for name, states in machine_rows.counts().items():
            Class.update(maximum=10_000, buffer=states[MachineState.READY]).where(Class.name == name).execute()


def hypervisor(settings: Settings) -> TestDriver:
    """The test driver with the machines that the catalog has, and their folders."""
    node = ET.Element("node")
    for number, id in database.rows("SELECT number, id FROM machine WHERE state <> 'retired'"):
        (settings.machines / id).mkdir()
        state, _, there = MIX[number % 20]
        if there:
            domain = ET.SubElement(node, "domain", type="test")
            for tag, text in (("name", f"m{number}"), ("uuid", id), ("memory", "524288"), ("vcpu", "1")):
                ET.SubElement(domain, tag).text = text
            ET.SubElement(ET.SubElement(domain, "os"), "type").text = "hvm"
            if state is MachineState.READY and MIX[number % 20][1] == "paused":
                ET.SubElement(domain, f"{{{TEST_DRIVER}}}runstate").text = str(PAUSED)
    file = settings.state / "node.xml"
    ET.ElementTree(node).write(file)
    return TestDriver(settings, file)


def stir(settings: Settings) -> None:
    """A rush: twenty people wait for a class of which none is ready, and fifty machines are made, handed over or taken away."""
    with catalog.write():
        spec, holders = Class.get().spec, [row.id for row in Account.select(Account.id).limit(WAITING)]
        rush = Class.create(
            name="rush", spec=spec, minimum=0, maximum=100, buffer=0, lease_minutes=60, extend_minutes=30, extensions=1, per_person=1,
        )  # fmt: skip
        seed = Seed.create(machine_class="rush", version=1, state=SeedState.READY, stored=True)
        seed_rows.promote(seed)
        for account in holders:
            Request.create(account=account, machine_class="rush", state=RequestState.WAITING, hit=False)
        for slot in machine_rows.next_slots(WAITING, settings.slots):
            machine = machine_rows.create(rush, seed, str(uuid.uuid4()), slot)
            machine_rows.change(machine.id, [MachineState.PLANNED], MachineState.CREATING)
        ready = [
            row.number
            for row in Machine.select().where(Machine.state == MachineState.READY, Machine.machine_class != "small").limit(LEAVING)
        ]
        Machine.update(state=MachineState.RECLAIMING).where(Machine.number.in_(ready[::2])).execute()
        Machine.update(state=MachineState.ASSIGNED, owner=holders[0]).where(Machine.number.in_(ready[1::2])).execute()


def _seconds(work: Callable[[], object], most: int = 100) -> float:
    """The best of several: what it costs, whatever else this machine has to do."""
    taken = []
    for _ in range(min(TIMES, most)):
        begun = time.perf_counter()
        work()
        taken.append(time.perf_counter() - begun)
    return min(taken)


def engine(settings: Settings) -> dict[str, float]:
    """Seconds for the parts of the engine."""
    provider = hypervisor(settings)
    engine = Engine(settings, provider)

    def settle() -> None:
        engine.tick()
        wait(engine.jobs.under_way())

    def read() -> None:
        engine.schedule.hurry("readings")
        settle()

    def tick_beside_a_reading() -> None:
        engine.schedule.hurry("readings")
        engine.tick()

    try:
        for _ in range(3):
            settle()
        engine.tick()
        assert not engine.jobs.under_way()  # all is as it should be
        found = {"tick_quiet": _seconds(engine.tick), "look": _seconds(provider.list), "plan": _seconds(engine.controllers.pools.plan)}
        found |= {"tick_and_reading": _seconds(read, 5)}
        found |= {"tick_beside_a_reading": _seconds(tick_beside_a_reading)}
        wait(engine.jobs.under_way())
        stir(settings)
        engine.tick()
        engine.tick()  # what the first gave up is taken away by the second
        assert Run.select().where(Run.ended_at.is_null()).count() >= WAITING + LEAVING
        assert engine.jobs.under_way()  # as many as go on at a time
        found["tick"] = _seconds(engine.tick)
    finally:
        engine.stop()
        provider.over.set()
        engine.close()
        provider.close()
    return found


class Application(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None: ...


def pages(settings: Settings) -> dict[str, float]:
    """Seconds to the first byte of pages, for a claim, and through the front door to an application."""
    admin, person = Person(settings, "admin"), Person(settings, "person0")
    person.claim()
    found = {"claim": min(person.claim() for _ in range(8))}
    addresses = {
        "machines_page": "/admin/machines/",
        "machines_ready": "/admin/machines/?state=ready&class=small",
        "machines_search": "/admin/machines/?text=holder7",
        "overview_page": "/admin/",
        "machine_page": f"/admin/machines/{uuid.UUID(int=2 * (settings.slots - WAITING) + 1)}",
        "events_page": "/admin/events/",
        "people_page": "/admin/accounts/",
        "portal": "/",
    }
    for name, path in addresses.items():
        found[name] = min(admin.first_byte(path) for _ in range(TIMES))
    machine = Machine.select().where(Machine.state == MachineState.ASSIGNED, Machine.machine_class == "small").get()
    Machine.update(state=MachineState.IN_USE).where(Machine.number == machine.number).execute()
    application = http.server.ThreadingHTTPServer((settings.address(machine.slot), 8080), Application)
    threading.Thread(target=application.serve_forever).start()
    person.go_to(settings.app_port + machine.slot)
    found["door"] = min(person.first_byte("/") for _ in range(TIMES))
    application.shutdown()
    application.server_close()
    return found


def measure(size: int) -> dict[str, float]:
    with serving(slots=size + WAITING, subnet="127.77.0.0/16") as settings:
        fill(size)
        return engine(settings) | pages(settings)


def run() -> Iterator[dict[str, Any]]:
    few, more, many = (measure(size) for size in SIZES)
    for name in many:
        for end, found in (("", many), (".1000", more)):
            yield {
                "name": f"scale.{name}{end}", "value": round(found[name], 5), "unit": "s", "baseline": "the same with 100 machines",
                "baseline_value": round(few[name], 5), "ratio": round(few[name] / found[name], 3),
            }  # fmt: skip
    growth = many["tick_quiet"] / few["tick_quiet"]
    yield {
        "name": "scale.growth", "value": round(growth, 2), "unit": "times the tick of 100 machines for 10,000",
        "baseline": "times as many machines", "baseline_value": 100, "ratio": round(100 / growth, 3),
    }  # fmt: skip
