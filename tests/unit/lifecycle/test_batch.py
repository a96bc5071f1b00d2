"""Machines made to wait, and what roles bring for each of them; the play is told of here, and run for real in tests/integration."""

import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest

from appliance import catalog
from appliance.catalog import Class, MachineState, Seed, machines
from appliance.errors import Unavailable
from appliance.hypervisor.provider import MachineSpec, Power
from appliance.laps import Lap
from appliance.lifecycle import batch
from appliance.lifecycle.batch import Built, Order, build
from appliance.settings import Settings
from tests.unit.engine.fake import FakeProvider
from tests.unit.hypervisor.test_provider import spec

Events = list[dict[str, Any]]


class Play:
    """Stands for Ansible: keeps the jobs, and says what it is told to say."""

    def __init__(self) -> None:
        self.jobs: Events = []
        self.events: Events = [{"kind": "ended", "failed": []}]
        self.meanwhile: Callable[[], object] = lambda: None

    def follow(
        self, file: Path, environment: dict[str, str], take: Callable[[dict[str, Any]], None], cancelled: Callable[[], bool]
    ) -> bool:
        self.jobs.append({**json.loads(file.read_text()), "environment": environment})
        self.meanwhile()
        for event in self.events:
            take(event)
        return not cancelled()


@pytest.fixture
def play(monkeypatch: pytest.MonkeyPatch) -> Play:
    play = Play()
    monkeypatch.setattr(batch, "follow", play.follow)
    return play


def built(provider: FakeProvider, orders: list[Order], settings: Settings) -> dict[str, Built]:
    found: dict[str, Built] = {}
    build(provider, orders, settings, lambda _id, _text: None, found.__setitem__)
    assert set(found) == {order.spec.id for order in orders}
    return found


def forked(number: int = 0) -> MachineSpec:
    return replace(spec(number), snapshot="small/1/snapshot-1", readiness="paused")


def test_without_tasks_nothing_of_ansible_is_started(settings: Settings, play: Play) -> None:
    provider = FakeProvider()
    found = built(provider, [Order(forked(0)), Order(spec(1))], settings)
    assert [(one.error, one.forked) for one in (found[spec(0).id], found[spec(1).id])] == [(None, True), (None, False)]
    assert play.jobs == []
    assert [verb for verb, of in provider.calls if of == spec(0).id] == ["fork"]


def test_one_play_is_for_all_machines_that_are_up(settings: Settings, play: Play) -> None:
    provider = FakeProvider()
    powers: list[Power] = []
    play.meanwhile = lambda: powers.extend(found.power for found in provider.list())
    orders = [Order(forked(0), ["one"], {"user": "{{ x }}"}), Order(spec(1), ["one", "two"]), Order(spec(2))]
    found = built(provider, orders, settings)
    assert [one.error for one in found.values()] == [None] * 3
    (job,) = play.jobs
    hosts = job["inventory"]["all"]["hosts"]
    assert {id: (host["ansible_host"], host["machine_name"], host["machine_roles"], host["spec"]) for id, host in hosts.items()} == {
        spec(0).id: (spec(0).id, "m0", ["one"], {"user": "{{ x }}"}),
        spec(1).id: (spec(1).id, "m1", ["one", "two"], {}),
    }
    assert {host["ansible_connection"] for host in hosts.values()} == {"dpe_agent"}
    assert job["roles"] == [str(settings.scenario / "roles")]
    assert Path(job["playbook"]).is_file()
    assert job["environment"]["DPE_STATE"] == str(settings.state)
    assert powers == [Power.RUNNING] * 3
    left = settings.state / "work/batch"
    assert list(left.iterdir()) == []
    (left / "of-a-killed-engine").mkdir()
    batch.tidy(settings)
    assert not left.exists()


@pytest.mark.parametrize(
    ("readiness", "forks", "calls", "power"),
    [
        ("running", True, ["fork", "start", "wait"], Power.RUNNING),
        ("paused", True, ["fork", "start", "wait", "suspend"], Power.PAUSED),
        ("running", False, ["clone", "start", "wait"], Power.RUNNING),
        ("paused", False, ["clone", "start", "wait", "suspend"], Power.PAUSED),
        ("cold", False, ["clone", "start", "wait", "stop"], Power.OFF),
    ],
)
def test_a_machine_with_tasks_runs_for_them_and_then_waits_as_it_should(
    settings: Settings, play: Play, readiness: Literal["running", "paused", "cold"], forks: bool, calls: list[str], power: Power
) -> None:
    provider = FakeProvider()
    wanted = replace(spec(), readiness=readiness, snapshot="small/1/snapshot-1" if forks else None)
    assert built(provider, [Order(wanted, ["one"])], settings)[wanted.id] == Built(None, forks)
    assert [verb for verb, _ in provider.calls] == calls
    assert [found.power for found in provider.list()] == [power]


def test_a_task_that_fails_fails_its_machine_alone(settings: Settings, play: Play) -> None:
    provider = FakeProvider()
    play.events = [
        {"kind": "task", "name": "Write its name", "number": 1},
        {"kind": "failed", "task": "Write its name", "message": "The disk is full.", "host": spec(1).id, "role": "one"},
        {"kind": "failed", "task": "Try", "message": "No such file.", "host": spec(2).id, "role": "one"},  # and is rescued
        {"kind": "ended", "failed": [spec(1).id]},
    ]
    found = built(provider, [Order(forked(number), ["one"]) for number in range(3)], settings)
    error = found[spec(1).id].error
    assert error is not None
    assert error.message == "Write its name failed: The disk is full."
    assert error.hint == "Look at tasks/machine.yml of one, and at the engine's log."
    assert [found[spec(number).id].error for number in (0, 2)] == [None, None]
    assert {machine.name: machine.power for machine in provider.list()} == {"m0": Power.PAUSED, "m1": Power.RUNNING, "m2": Power.PAUSED}


def test_a_play_that_cannot_be_run_fails_all_and_says_why(settings: Settings, play: Play) -> None:
    play.events = [{"kind": "output", "text": "ERROR! no such file"}]
    found = built(FakeProvider(), [Order(spec(number), ["one"]) for number in range(2)], settings)
    assert [str(one.error.message) for one in found.values() if one.error] == [
        "The tasks for each machine could not be run: ERROR! no such file."
    ] * 2


def test_a_play_without_an_end_is_ended(settings: Settings, play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch, "TASKS_WITHIN", -1.0)
    play.events = []
    (one,) = built(FakeProvider(), [Order(spec(), ["one"])], settings).values()
    assert one.error is not None
    assert "did not end within" in one.error.message


def test_one_that_is_not_made_keeps_no_other_from_its_tasks(settings: Settings, play: Play) -> None:
    class Failing(FakeProvider):
        def clone(self, spec: MachineSpec) -> None:
            if spec.name == "m1":
                raise Unavailable("No room.", "Make some.")
            if spec.name == "m2":
                raise ZeroDivisionError("a bug")
            super().clone(spec)

    found = built(Failing(), [Order(spec(number), ["one"]) for number in range(3)], settings)
    errors = [found[spec(number).id].error for number in range(3)]
    assert [str(error) for error in errors] == ["None", "No room. Make some.", "ZeroDivisionError: a bug Look at the engine's log."]
    assert list(play.jobs[0]["inventory"]["all"]["hosts"]) == [spec(0).id]


def test_all_wait_at_once_and_no_more_than_told_are_started_at_once(settings: Settings) -> None:
    class Meeting(FakeProvider):
        here, most, lock = 0, 0, threading.Lock()
        together = threading.Barrier(4)

        def wait(self, spec: MachineSpec, report: Callable[[str], None] | None = None, **_: object) -> Sequence[Lap]:
            self.together.wait(10)
            return []

        def start(self, spec: MachineSpec) -> None:
            with self.lock:
                self.here += 1
                self.most = max(self.most, self.here)
            time.sleep(0.02)
            with self.lock:
                self.here -= 1

    provider = Meeting()
    found = built(provider, [Order(spec(number)) for number in range(4)], replace(settings, parallel=2))
    assert [one.error for one in found.values()] == [None] * 4
    assert provider.most <= 2


# -- in the engine ------------------------------------------------------------------------------


@pytest.fixture
def with_tasks(opened: Settings, small: Class, tmp_path: Path) -> Iterator[Settings]:
    """The class has two roles, one of which brings tasks for each machine."""
    for name in ("plain", "named"):
        (tmp_path / f"house/roles/{name}/tasks").mkdir(parents=True)
    (tmp_path / "house/roles/named/tasks/machine.yml").write_text("- name: Write its name\n  command: touch /name\n")
    with catalog.write():
        Class.update(spec={**small.spec, "roles": ["plain", "named"]}).execute()
    return replace(opened, scenario=tmp_path / "house")


def row(readiness: str) -> Any:
    with catalog.write():
        machine = machines.create(Class.get(), Seed.get(), "6b1c0000-0000-4000-8000-000000000001", 1, None)
        machine.readiness = readiness
        machine.save()
    return machine


def test_an_order_names_the_roles_that_have_tasks_for_each_machine(with_tasks: Settings, opened: Settings) -> None:
    machine = row("running")
    assert batch.order(machine, with_tasks).roles == ["named"]
    assert batch.order(machine, opened).roles == []


def test_who_waits_gets_a_machine_with_its_tasks_done(with_tasks: Settings, play: Play) -> None:
    provider = FakeProvider()
    machine = row("running")
    one = batch.build_one(provider, batch.order(machine, with_tasks), with_tasks, lambda _text: None)
    assert one.error is None
    assert len(play.jobs) == 1
    assert machine.state is MachineState.PLANNED
