"""Fixtures of the unit tier: a catalog of one's own, people in it, and machines that are only rows. And it starts no process."""

import multiprocessing.util
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from appliance import catalog, layout, packages
from appliance.catalog import (
    Account,
    Actor,
    Class,
    Grant,
    Machine,
    MachineState,
    Seed,
    SeedState,
    Sequence,
    VersionState,
    machines,
    now,
    policies,
    runs,
    sequences,
)
from appliance.catalog import seeds as seed_rows
from appliance.lifecycle.handlers import Handlers, ended
from appliance.scenario.schema import ClassSpec
from appliance.settings import Settings
from appliance.settings import load as load_settings
from appliance.workflow import sequence
from appliance.workflow.activities import ACTIVITIES
from appliance.workflow.runner import Handler, Outcome, Runner
from appliance.workflow.sequence import Around
from tests import quick
from tests.unit.engine.fake import FakeProvider

quick.passwords_and_templates()

SPEC = {
    "title": "Small machine",
    "os": "debian-13",
    "size": {"vcpus": 1, "memory": 256, "disk": 2},
    "application": {"port": 8080, "path": "/start", "ready": "/"},
    "policy": {"minimum": 0, "maximum": 20, "buffer": 2},
    "lease": {"minutes": 60, "extend": 30, "extensions": 2},
    "per_person": 2,
}


STARTS = {"subprocess.Popen", "os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn", "os.system"}


class Watch:
    """What Python is about to start is heard here, whoever starts it; a test that may not is ended, and told if it went on all the same."""

    def __init__(self) -> None:
        self.on = False
        self.started: list[str] = []
        sys.addaudithook(self.hear)

    def hear(self, event: str, args: tuple[object, ...]) -> None:
        if self.on and event in STARTS and args[:1] != ("/sbin/ldconfig",):  # by which Python itself looks for libraries
            self.started.append(f"{event} {args[1:2] or args}")
            raise AssertionError(f"A unit test starts no process, but {self.started[-1]}: see tests/README.md")


def no_program(command: list[str], **_: Any) -> "subprocess.CompletedProcess[bytes]":
    """In place of `subprocess.run`: a host without disks, on which no program is installed."""
    if command[0] == "lsblk":
        return subprocess.CompletedProcess(command, 0, b'{"blockdevices": []}', b"")
    raise FileNotFoundError(command[0])


watch = Watch()
_spawn = multiprocessing.util.spawnv_passfds


def _heard(path: bytes, args: Any, passfds: Any) -> int:
    """multiprocessing starts its processes below what is audited."""
    watch.hear("os.spawn", (path, args))
    return int(_spawn(path, args, passfds))


multiprocessing.util.spawnv_passfds = _heard


@pytest.fixture(autouse=True)
def _starts_no_process(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What needs a real program is in tests/integration/programs; linters alone, in house/, are marked so."""
    watch.started.clear()
    watch.on = request.node.get_closest_marker("linter") is None
    if watch.on:
        monkeypatch.setattr(subprocess, "run", no_program)
    yield
    watch.on = False
    assert watch.started == []


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    settings = load_settings({}, state=tmp_path / "state", network="unit", slots=50)
    layout.prepare(settings)
    return settings


@pytest.fixture
def opened(settings: Settings) -> Iterator[Settings]:
    """An empty catalog, open."""
    quick.open_catalog(settings.catalog)
    packages.open(settings.packages)  # of which there are none
    yield settings
    catalog.close()


def account(name: str, *, is_admin: bool = False) -> Actor:
    with catalog.write():
        account = Account.create(name=name, full_name=name.title(), password="!")
        if is_admin:
            Grant.create(role="owner", account=account.id)
    return Actor(name, account.id, "127.0.0.1")


@pytest.fixture
def alice(opened: Settings) -> Actor:
    return account("alice")


@pytest.fixture
def bob(opened: Settings) -> Actor:
    return account("bob")


@pytest.fixture
def admin(opened: Settings) -> Actor:
    return account("admin", is_admin=True)


@pytest.fixture
def small(opened: Settings) -> Class:
    """A class with a promoted seed, whose machines boot and wait running; tests of forking say otherwise."""
    return small_class()


POLICY = {
    "minimum": 0, "maximum": 20, "buffer": 2, "lease_minutes": 60, "extend_minutes": 30, "extensions": 2, "per_person": 2, "fork": False,
    "readiness": "running", "sequence": "",
}  # fmt: skip


def small_class() -> Class:
    """The same, in whichever catalog is open."""
    described = ClassSpec.model_validate(SPEC)
    with catalog.write():
        machine_class = Class.create(name="small", **policies.columns(described.model_dump(mode="json"), POLICY))
        seed = Seed.create(machine_class="small", version=1, state=SeedState.READY, stored=True, manifest={"cmdline": "root=/dev/vda"})
        seed_rows.promote(seed)
    return machine_class


@pytest.fixture
def ready(small: Class) -> Callable[[int], list[Machine]]:
    """Make this many ready machines of the class small, as rows."""

    def make(count: int) -> list[Machine]:
        with catalog.write():
            seed = seed_rows.promoted("small")
            assert seed is not None
            made = [machines.create(small, seed, str(uuid.uuid4()), slot) for slot in machines.next_slots(count, 10_000)]
            for machine in made:
                machines.change(machine.id, [MachineState.PLANNED], MachineState.READY)
        return made

    return make


@pytest.fixture
def follow(small: Class) -> Callable[..., int]:
    """Let the class small follow a sequence: `follow(assign={"before": [{"name": "yes", "kind": "approval"}]})`; returns the version's id."""

    def begin(**moves: dict[str, list[dict[str, object]]]) -> int:
        around = {name: Around.model_validate(value) for name, value in moves.items()}
        with catalog.write():
            Sequence.get_or_create(name="ours", defaults={"title": "Ours"})  # type: ignore[no-untyped-call]
            version = sequences.add("ours", sequence.dump(around), VersionState.PROMOTED, author="admin")
            Class.update(sequence="ours").where(Class.name == "small").execute()
        return int(version.id)

    return begin


@pytest.fixture
def walk(opened: Settings) -> Callable[..., None]:
    """Take every run as far as it goes, over a provider that is only memory; `walk(at, wait=...)` has another do what is a wait."""
    provider = FakeProvider()
    handlers = {**ACTIVITIES, **Handlers(opened, provider).all()}

    def go(at: datetime | None = None, **others: Callable[..., Outcome]) -> None:
        provider.files |= {machine.id for machine in Machine.select()}  # ready ones are rows of a test
        changed = {kind: Handler(perform) for kind, perform in others.items()}
        runner = Runner({**handlers, **changed}, ended=ended, clock=lambda: at or now())
        while due := [one.id for one in runs.due_steps(at or now())]:
            for id in due:
                runner.advance(id)

    return go
