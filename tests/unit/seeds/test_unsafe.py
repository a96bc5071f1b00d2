"""Whatever people write ends in a play as data: each place where they may, walked by its schema, with the real Ansible reading what it is given."""

import contextlib
import dataclasses
import json
import re
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.loader import init_plugin_loader
from ansible.template import Templar

import appliance
from appliance.catalog import Account, Class, Machine, MachineState
from appliance.hypervisor.provider import MachineSpec
from appliance.lifecycle import batch, guest_activities
from appliance.scenario.schema import ClassSpec
from appliance.seeds import build, play
from appliance.settings import Settings
from appliance.workflow.kinds import Playbook
from tests.hostile import PAYLOADS, filled
from tests.unit.engine.fake import FakeProvider

pytestmark = pytest.mark.hostile


@pytest.fixture(scope="module", autouse=True)
def ansible() -> None:
    init_plugin_loader()


def activity(settings: Settings, text: str) -> None:
    """A playbook of a sequence, with all that is known of machine, class and owner."""
    machine = filled(Machine, text)
    machine.machine_class, machine.owner, machine.state, machine.slot = filled(Class, text), filled(Account, text), MachineState.IN_USE, 1
    options = filled(Playbook, text).model_copy(update={"playbook": "write-motd.yml", "timeout": "1m"})
    step = type("Step", (), {"name": "1-1", "run": type("Run", (), {"kind": "assign"}), "report": print, "cancelled": lambda: False})
    for target in ("machine", "appliance"):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(guest_activities, "machine_of", lambda _: machine)
            guest_activities.Activities(settings, FakeProvider()).playbook(step, options.model_copy(update={"target": target}))  # type: ignore[arg-type]


def seed(settings: Settings, text: str) -> None:
    """A class as a scenario describes it, built."""
    job = build.SeedJob(1, "one", 1, filled(ClassSpec, text), Path("/scenario"))
    work = settings.state / "work/1"
    settings.logs.mkdir(parents=True, exist_ok=True)
    one = build._Build(job, settings, work, print, lambda: False)
    work.mkdir(parents=True)
    build.follow(one.described(one.description()), one.sandbox(), print, lambda: False)


def machines(settings: Settings, text: str) -> None:
    """Machines that are given the tasks of a role."""
    one = dataclasses.replace(filled(MachineSpec, text), id=str(uuid.uuid4()))
    batch._run_tasks(FakeProvider(), [batch.Order(one, [text], filled(ClassSpec, text).model_dump(mode="json"))], settings, print)


PLACES: dict[str, Callable[[Settings, str], None]] = {
    "lifecycle/guest_activities.py": activity,
    "seeds/build.py": seed,
    "lifecycle/batch.py": machines,
}


def test_every_part_that_runs_a_play_is_among_them() -> None:
    """Nothing but play.py runs Ansible, and whoever has it do that is walked below. The client's plugin is for Ansible on other computers."""
    root = Path(appliance.__file__).parent
    texts = {str(file.relative_to(root)): file.read_text() for file in root.rglob("*.py") if "client" not in file.relative_to(root).parts}
    assert {name for name, text in texts.items() if re.search(r"^\s*(import|from) ansible", text, re.M)} == {"seeds/play.py"}
    assert {name for name, text in texts.items() if re.search(r"seeds(\.follow)? import .*\bfollow\b", text)} == set(PLACES)


@pytest.mark.parametrize("place", PLACES)
def test_what_people_write_is_data_to_ansible(place: str, opened: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One file of variables and one inventory hold what all jobs with all payloads have, for one Ansible to make all of it of."""
    jobs: list[dict[str, Any]] = []

    def take(file: Path, *_: Any) -> bool:
        jobs.append(json.loads(file.read_text()))
        return True

    for module in (guest_activities, build, batch):
        monkeypatch.setattr(module, "follow", take)
    monkeypatch.setattr(guest_activities, "follow_here", take)
    monkeypatch.setattr(guest_activities.agents, "reaching", lambda *_: contextlib.nullcontext())
    for number, text in enumerate(PAYLOADS):
        PLACES[place](dataclasses.replace(opened, state=opened.state / str(number)), text)
        assert len(jobs) > number
        assert json.dumps(text)[1:-1].replace("/", "") in json.dumps(jobs[-1]).replace("/", "")  # it went there
    wanted = {f"job{number}": job["variables"] for number, job in enumerate(jobs)}
    hosts = {f"{name}-{number}": value for number, job in enumerate(jobs) for name, value in job["inventory"]["all"]["hosts"].items()}
    play.place(tmp_path / "play", wanted, {"all": {"hosts": hosts}})

    loader = DataLoader()
    read = loader.load_from_file(str(tmp_path / "play/env/extravars"), trusted_as_template=True)
    assert plain(Templar(loader=loader, variables=read).template(read)) == wanted
    known = InventoryManager(loader=loader, sources=[str(tmp_path / "play/inventory/hosts.yml")])
    found = {host.name: {name: host.vars[name] for name in hosts[host.name]} for host in known.get_hosts()}
    assert plain(Templar(loader=loader, variables={}).template(found)) == hosts


def plain(value: Any) -> Any:
    """Without what Ansible knows about its texts."""
    return json.loads(json.dumps(value))


def test_names_of_roles_are_names_in_the_play_that_is_made_of_them(settings: Settings) -> None:
    loader, work = DataLoader(), settings.state / "work/1"
    work.mkdir(parents=True)
    for text in PAYLOADS:
        build._Build(
            build.SeedJob(1, "one", 1, filled(ClassSpec, text), Path("/scenario")), settings, work, print, lambda: False
        ).description()
        (read,) = loader.load_from_file(str(work / "roles.yml"), cache="none", trusted_as_template=True)
        assert Templar(loader=loader, variables={}).template(read["roles"]) == ["guest", text]
