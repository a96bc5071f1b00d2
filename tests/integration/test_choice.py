"""Somebody asks for what was never made, leaves, comes back and has it; the next one has the same from a fork, without a build. On real machines."""

import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from appliance import catalog, packages
from appliance.catalog import Account, Actor, Machine, MachineState, Request, RequestState, Seed, SnapshotState, options, seeds, snapshots
from appliance.engine import Engine
from appliance.engine.scenario import adopt
from appliance.hypervisor.libvirt.provider import LibvirtProvider
from appliance.lifecycle import package_index
from appliance.services import choices, scenarios
from appliance.services import machines as verbs
from appliance.settings import REPOSITORY, Settings
from tests.integration.conftest import Libvirtd, empty
from tests.kept import CACHE

pytestmark = pytest.mark.choice

PATIENCE = 900  # seconds on a crowded host
SCENARIO = """\
name: micro
title: The smallest machines, and what you like
classes:
  micro:
    title: Smallest machine
    os: debian-13
    roles: [web, init]
    size: {memory: 256, disk: 2}
    application: {port: 8080, ready: /ready}
    policy: {maximum: 6, buffer: 0}
    sequence: none
    boot_timeout: 240
    choice: {applications: [a, b]}
"""


@pytest.fixture
def settings(libvirtd: Libvirtd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    """The tests' appliance with a class of which nothing was built."""
    folder = tmp_path / "micro"
    shutil.copytree(REPOSITORY / "tests/scenarios/micro/roles", folder / "roles")
    for role in ("a", "b"):
        (folder / "roles" / role / "tasks").mkdir(parents=True)
        task = f"- ansible.builtin.copy: {{dest: /etc/{role}, content: chosen, mode: '0644'}}\n"
        (folder / "roles" / role / "tasks/main.yml").write_text(task)
    (folder / "scenario.yml").write_text(SCENARIO)
    settings = replace(libvirtd.settings, scenario=folder)
    empty(settings)
    (settings.cache / "bootstrap").mkdir(parents=True, exist_ok=True)
    for kept in (CACHE / "cache/bootstrap").glob("trixie-*.tar"):
        if not (settings.cache / "bootstrap" / kept.name).exists():
            shutil.copy2(kept, settings.cache / "bootstrap")
    monkeypatch.setattr(package_index, "after_build", lambda os: None)  # which would fetch what nothing here needs
    catalog.open(settings.catalog)
    packages.open(settings.packages)
    scenarios.follow_folder(settings)
    assert adopt(settings) is not None
    with catalog.write():
        options.put("setup_done", True)
    yield settings
    catalog.close()
    empty(settings)


def test_what_was_never_made_is_built_and_the_next_one_has_it_from_a_fork(settings: Settings, provider: LibvirtProvider) -> None:
    with catalog.write():
        alice, bob = (Actor(name, Account.create(name=name, password="!").id) for name in ("alice", "bob"))
    micro = choices.open_class(alice, "micro")

    def ask(who: Actor) -> Request:
        return choices.request(who, micro, choices.read(micro, {"applications": ["b", "a"]}))

    def until(engine: Engine, holds: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not holds():
            assert time.monotonic() < deadline, [(seed.task, seed.problem) for seed in Seed.select()]
            engine.tick()
            time.sleep(0.05)

    def machine_of(asked: Request) -> Machine | None:
        found: Request = Request.get_by_id(asked.id)
        assert found.state in (RequestState.WAITING, RequestState.GRANTED), found.reason
        return found.machine

    def has(asked: Request) -> bool:
        machine = machine_of(asked)
        return machine is not None and machine.state is MachineState.IN_USE

    engine = Engine(settings, provider)
    try:
        first = ask(alice)
        until(engine, lambda: has(first))  # nobody looks meanwhile
        machine = machine_of(first)
        assert machine is not None
        assert provider.execute(machine.id, ["cat", "/etc/a", "/etc/b"]).output == "chosenchosen"
        seed = seeds.promoted(machine.class_name)
        assert seed is not None
        until(engine, lambda: (taken := snapshots.current(seed.id)) is not None and taken.state is SnapshotState.READY)
        second = ask(bob)
        until(engine, lambda: has(second))
        other = machine_of(second)
        assert other is not None
        assert (other.origin, other.seed_id, Seed.select().count()) == ("fork", seed.id, 1)
        assert [one.machine_class.name for one in verbs.offers(bob.account_id or 0)] == ["micro"]
    finally:
        engine.stop()
        engine.close()
