"""Somebody asks for what was never made, leaves, comes back and has it; the next one has the same from a fork, without a build. On real machines.

What is chosen are two small roles; in `make soak` (DPE_TEST_CHOSEN=1) JupyterLab and PostgreSQL on Debian 13, which take about a quarter of an hour.
"""

import os
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

IS_REAL = bool(os.environ.get("DPE_TEST_CHOSEN"))
PATIENCE = 3600 if IS_REAL else 900  # seconds on a crowded host
SMALL = "cat /etc/a /etc/b", "chosenchosen"
REAL = (
    "runuser -u user -- psql -Atc 'select 6 * 7' data; python3 -c 'import urllib.request as of; print(of.urlopen(\"http://127.0.0.1:8888/api\").status)'",
    "42\n200\n",
)
BASE = "applications: [{name: terminal}]" if IS_REAL else "roles: [web, init]\n    application: {port: 8080, ready: /ready}"
APPLICATIONS, (COMMAND, ANSWER) = (["jupyterlab", "postgresql"], REAL) if IS_REAL else (["a", "b"], SMALL)
SCENARIO = """\
name: micro
title: The smallest machines, and what one likes
classes:
  micro:
    title: Smallest machine
    os: debian-13
    %s
    size: {memory: 256, disk: 2}
    policy: {maximum: 6, buffer: 0}
    sequence: none
    boot_timeout: 600
    choice: {applications: [%s], memory: 1024, disk: 6}
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
    (folder / "scenario.yml").write_text(SCENARIO % (BASE, ", ".join(APPLICATIONS)))
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
        size = {"memory": 1024, "disk": 6} if IS_REAL else {}
        return choices.request(who, micro, choices.read(micro, {"applications": APPLICATIONS[::-1], **size}))

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
        assert provider.execute(machine.id, ["sh", "-c", COMMAND]).output == ANSWER
        seed = seeds.promoted(machine.class_name)
        assert seed is not None
        until(engine, lambda: (taken := snapshots.current(seed.id)) is not None and taken.state is SnapshotState.READY)
        second = ask(bob)
        until(engine, lambda: has(second))
        other = machine_of(second)
        assert other is not None
        assert (other.origin, other.seed_id, Seed.select().count()) == ("fork", seed.id, 1)
        assert provider.execute(other.id, ["sh", "-c", COMMAND]).output == ANSWER
        assert [one.machine_class.name for one in verbs.offers(bob.account_id or 0)] == ["micro"]
    finally:
        engine.stop()
        engine.close()
