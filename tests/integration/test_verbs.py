"""Somebody's machine stopped, started, suspended, resumed, passed on and made anew by the engine, on a real libvirtd, with commands and playbooks around it."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from appliance import catalog
from appliance.catalog import (
    Account,
    Actor,
    Class,
    Event,
    Grant,
    Machine,
    MachineState,
    Run,
    RunState,
    Seed,
    SeedState,
    Sequence,
    Snapshot,
    SnapshotState,
    VersionState,
    doorbell,
    machines,
    options,
    runs,
    sequences,
)
from appliance.catalog import seeds as seed_rows
from appliance.engine import Engine
from appliance.hypervisor.libvirt.provider import LibvirtProvider
from appliance.lifecycle.specs import spec
from appliance.services import machines as verbs
from appliance.services import moves
from appliance.settings import Settings
from tests import waiting
from tests.integration.conftest import Libvirtd, empty
from tests.integration.look import answers, boot_id
from tests.seeds import SMALL, place, small_scenario

pytestmark = pytest.mark.workflow
S = MachineState
WAIT = 600  # seconds: two busy processors emulate

AROUND = {
    "stop": {
        "before": [
            {"name": "note", "kind": "guest", "with": {"run": ["sh", "-c", 'echo "$DPE_MACHINE_OWNER: $0" >> /var/tmp/note', "a b; c"]}},
            {
                "name": "wrong",
                "kind": "guest",
                "with": {"run": ["false"], "user": "owner"},
                "retry": {"tries": 1},
                "on_failure": "go_on",
            },
        ]
    },
    "resume": {"after": [{"name": "motd", "kind": "playbook", "with": {"playbook": "write-motd.yml", "variables": {"text": "Welcome."}}}]},
}


@pytest.fixture
def people(libvirtd: Libvirtd, small_seed: object, small_snapshot: str) -> Iterator[dict[str, Actor]]:
    """A catalog that was set up, with the small class, its seed and snapshot, and three people; a sequence has something around two moves."""
    settings = libvirtd.settings
    empty(settings)
    catalog.open(settings.catalog)
    files = place(small_seed, settings)  # type: ignore[arg-type]
    with catalog.write():
        options.put("setup_done", True)
        Sequence.create(name="around", title="Around")
        sequences.add("around", json.dumps(AROUND), VersionState.PROMOTED)
        Class.create(
            name="small", spec=small_scenario().classes["small"].model_dump(mode="json"), minimum=0, maximum=2, buffer=0,
            lease_minutes=600, extend_minutes=30, extensions=1, per_person=2, sequence="around",
        )  # fmt: skip
        seed_rows.promote(
            seed := Seed.create(machine_class="small", version=1, state=SeedState.READY, stored=True, manifest=files.manifest)
        )
        Snapshot.create(seed=seed.id, state=SnapshotState.READY, name=small_snapshot)
        made = {name: Account.create(name=name, full_name=name.title(), password="!") for name in ("alice", "bob", "grace")}
        Grant.create(role="owner", account=made["grace"].id)
    yield {name: Actor(name, account.id) for name, account in made.items()}
    catalog.close()


@pytest.fixture
def settings(libvirtd: Libvirtd, people: dict[str, Actor]) -> Iterator[Settings]:
    """The engine's, which runs in a thread meanwhile."""
    settings, provider = replace(libvirtd.settings, scenario=SMALL), LibvirtProvider(libvirtd.settings)
    engine = Engine(settings, provider)

    def work() -> None:
        engine.run()
        catalog.close()

    thread = threading.Thread(target=work)
    thread.start()
    yield settings
    engine.stop()
    thread.join()
    for machine in machines.live():
        provider.destroy(machine.id)
    engine.close()
    provider.close()


def until(true: Callable[[], bool], what: str) -> None:
    def story() -> str:
        told = [event.message for event in Event.select().order_by(Event.id.desc()).limit(5)]
        return f"not within {WAIT} s: {what}; {machines.counts()}; {told}"

    waiting.until(true, story, WAIT, every=0.1)


def ended(run: int) -> Run:
    """The run, when it has ended well."""
    until(lambda: runs.by_id(run).ended_at is not None, f"the end of run {run}")  # type: ignore[union-attr]
    found = runs.by_id(run)
    assert found is not None
    assert found.state is RunState.DONE, (found.problem, [(step.name, step.problem, step.hint) for step in runs.steps(run)])
    return found


def test_the_whole_life_of_a_machine_that_somebody_holds(settings: Settings, people: dict[str, Actor], provider: LibvirtProvider) -> None:
    alice, bob, grace = people["alice"], people["bob"], people["grace"]
    verbs.request(alice, "small")
    until(lambda: [m.state for m in verbs.my_machines(alice.account_id)] == [S.IN_USE], "a machine in use")  # type: ignore[arg-type]
    [machine] = verbs.my_machines(alice.account_id)  # type: ignore[arg-type]
    id = machine.id
    wanted = spec(machine, settings)
    address = wanted.card.address

    def inside(*command: str) -> str:
        done = provider.execute(id, command)
        assert done.status == 0, done
        return done.output.strip()

    def state() -> MachineState:
        found = machines.by_id(id)
        assert found is not None
        return found.state

    # Stop: what the sequence puts before it is done once, with the owner's name as a word among others.
    boot = boot_id(wanted)
    stopped = ended(moves.stop(alice, id))
    assert state() is S.STOPPED
    assert not answers(address)
    steps = {step.name: step for step in runs.steps(stopped.id)}
    assert steps["note"].output["status"] == 0
    assert steps["wrong"].problem == "false ended with status 1."

    # Start: its own disk, its owner's name, its address.
    ended(moves.start(alice, id))
    assert state() is S.IN_USE
    assert boot_id(wanted) != boot
    assert inside("cat", "/var/tmp/note") == "alice: a b; c"
    assert json.loads(inside("cat", "/run/dpe/owner.json"))["name"] == "alice"

    # Suspend and resume: goes on where it was, with the right clock, and then a playbook works in it.
    boot = boot_id(wanted)
    ended(moves.suspend(alice, id))
    assert state() is S.SUSPENDED
    assert not answers(address)
    resumed = ended(moves.resume(alice, id))
    assert boot_id(wanted) == boot
    assert abs(float(inside("date", "+%s.%N")) - time.time()) < 10
    assert inside("cat", "/etc/motd").splitlines() == [f"{machine.name}, held by alice.", "Welcome."]
    assert "Write the message of the day" in {step.name: step for step in runs.steps(resumed.id)}["motd"].output["output"]

    # Transfer: the new owner's name is in it. What the old one has open is ended at the front door (test_door.py).
    ended(moves.transfer(grace, id, "bob"))
    assert json.loads(inside("cat", "/run/dpe/owner.json"))["name"] == "bob"
    assert [m.id for m in verbs.my_machines(bob.account_id)] == [id]  # type: ignore[arg-type]

    # Reprovision: name, address and id stay, what was on it goes.
    ended(moves.reprovision(bob, id))
    fresh = machines.by_id(id)
    assert fresh is not None
    assert (fresh.state, fresh.name, fresh.slot, fresh.owner_id) == (S.IN_USE, machine.name, machine.slot, bob.account_id)
    assert answers(address)
    assert provider.execute(id, ["test", "-e", "/var/tmp/note"]).status == 1
    assert json.loads(inside("cat", "/run/dpe/owner.json"))["name"] == "bob"
    assert inside("hostname") == machine.name

    # And it goes from any of these states.
    ended(moves.suspend(bob, id))
    verbs.release(bob, id)
    doorbell.ring()
    until(lambda: state() is S.RETIRED, "it is gone")
    assert id not in {found.id for found in provider.list()}
    assert id not in provider.disks()
    assert Machine.select().where(Machine.state == S.QUARANTINED).count() == 0
