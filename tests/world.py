"""A catalog as it looks after a busy morning, for tests of the pages and for their pictures. Rows only: no machine is real."""

import contextlib
import math
import sqlite3
import time
import uuid
from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import NamedTuple

from appliance import catalog
from appliance.catalog import (
    ROOT,
    Account,
    Actor,
    Class,
    Engine,
    EventKind,
    Grant,
    Group,
    Lease,
    Level,
    Machine,
    MachineState,
    Member,
    OrgUnit,
    Quota,
    Reading,
    Replica,
    ReplicaState,
    Request,
    RequestState,
    ScenarioState,
    Seed,
    SeedState,
    Sequence,
    Snapshot,
    SnapshotState,
    VersionState,
    WorkItem,
    database,
    memory,
    options,
    policies,
    record,
    runs,
    sequences,
)
from appliance.catalog import machines as machine_rows
from appliance.catalog import scenarios as scenario_rows
from appliance.catalog import seeds as seed_rows
from appliance.identity import passwords
from appliance.lifecycle.handlers import ended
from appliance.readings import HOST as HOST_READINGS
from appliance.readings import Kind, Store, Subject
from appliance.scenario import tree
from appliance.scenario.schema import ClassSpec
from appliance.services import inbox
from appliance.services import machines as machine_verbs
from appliance.settings import REPOSITORY, Settings
from appliance.workflow import sequence
from appliance.workflow.activities import ACTIVITIES
from appliance.workflow.runner import Runner
from appliance.workflow.sequence import Around

PASSWORD = "correct horse battery"

NOTEBOOK = {
    "title": "Notebook",
    "description": "JupyterLab with Python, NumPy and pandas, on a machine of your own.",
    "os": "debian-13",
    "packages": ["git", "less"],
    "roles": ["jupyterlab"],
    "size": {"vcpus": 2, "memory": 1024, "disk": 8},
    "application": {"port": 8888, "path": "/lab", "ready": "/api"},
}
STUDIO = {
    "title": "Statistics studio",
    "description": "R and its studio, with room for larger data.",
    "os": "debian-12",
    "size": {"vcpus": 4, "memory": 4096, "disk": 16},
    "application": {"port": 8787, "path": "/", "ready": "/"},
    "lease": {"minutes": 1440, "extend": 720, "extensions": 5},
}
HOST = {
    "acceleration": "kvm",
    "reason": "The processor's virtualisation works: a guest ran in it.",
    "hypervisor": "QEMU 10.0.2, libvirt 11.3.0",
    "cpus": 16,
    "memory": 65536,
    "memory_available": 38400,
    "disk_free": 412000,
    "disk": 960000,
    "swap": 0,
    "swap_used": 0,
    "cpu_percent": 23.4,
}
EMULATED = {
    **HOST,
    "acceleration": "emulation",
    "reason": "KVM is there, but a guest of a few instructions did not run in it.",
    "hypervisor": "QEMU 7.2.0, libvirt 9.0.0",
    "cpus": 2,
    "memory": 7950,
    "memory_available": 5200,
    "disk_free": 38000,
}
PACKAGES = {
    "base-files": "13.8",
    "bash": "5.2.37-2",
    "ca-certificates": "20250419",
    "git": "1:2.47.3-0",
    "less": "668-1",
    "qemu-guest-agent": "1:10.0.2",
}


@cache
def _password() -> str:
    return passwords.digest(PASSWORD)


def account(name: str, full_name: str = "", *, is_admin: bool = False) -> Actor:
    """An account with PASSWORD."""
    with catalog.write():
        row = Account.create(name=name, full_name=full_name, email=f"{name}@example.org", password=_password())
        if is_admin:
            Grant.create(role="owner", account=row.id)
    return Actor(name, row.id, "127.0.0.1")


def machine_class(name: str, spec: Mapping[str, object], **values: int) -> Class:
    """A class as the engine makes it from a scenario."""
    described = ClassSpec.model_validate(spec)
    with catalog.write():
        row = Class.create(name=name, **policies.columns(described.model_dump(mode="json"), {"sequence": "", **values}))
    return Class.get_by_id(row.name)


SEEN = {
    "at": "2026-03-02T10:00:00+00:00",
    "pages": [
        {"title": "Notebook", "port": 8888, "path": "/lab", "status": 200, "name": "JupyterLab", "text": "JupyterLab needs JavaScript."},
        {
            "title": "Terminal",
            "port": 4200,
            "path": "/",
            "problem": "10.0.0.2:4200 does not answer in time. Look at the server's load and log.",
        },
    ],
    "picture": False,
}


def seed(class_name: str, version: int, state: SeedState = SeedState.READY, *, promoted: bool = False, **values: object) -> Seed:
    """A seed version, begun an hour ago for each version it lags behind nine."""
    began = catalog.now() - timedelta(hours=9 - version)
    ended = None if state in (SeedState.QUEUED, SeedState.BUILDING) else began + timedelta(minutes=3, seconds=12)
    about = {"os": "debian-13", "kernel": "6.12.48+deb13-amd64", "seconds": 192.4, "packages": PACKAGES, "seen": SEEN}
    manifest = about if state is SeedState.READY else {}
    defaults = {
        "state": state,
        "created_at": began,
        "started_at": began,
        "ended_at": ended,
        "manifest": manifest,
        "stored": state is SeedState.READY,
    }
    with catalog.write():
        row = Seed.create(machine_class=class_name, version=version, **{**defaults, **values})
        if promoted:
            seed_rows.promote(row)
    return Seed.get_by_id(row.id)


FACTS = {
    "hypervisor": "QEMU 10.0.2",
    "acceleration": "kvm",
    "machine": "pc-q35-10.0",
    "cpu": "host",
    "memory": 1024,
    "domain": "5d41402abc4b2a76b9719d911017c592",
    "size": 412,
}


def snapshot(of: Seed, state: SnapshotState = SnapshotState.READY, **values: object) -> Snapshot:
    """A snapshot of a seed, begun twenty minutes ago."""
    began = catalog.now() - timedelta(minutes=20)
    by_state: dict[SnapshotState, dict[str, object]] = {
        SnapshotState.BUILDING: {"created_at": catalog.now() - timedelta(seconds=14), "step": "booting the seed"},
        SnapshotState.READY: {"facts": FACTS, "name": f"{of.name}/snapshot-1", "ended_at": began + timedelta(seconds=31)},
        SnapshotState.FAILED: {
            "attempts": 2, "retry_at": catalog.now() + timedelta(minutes=18), "ended_at": began + timedelta(seconds=90),
            "problem": "3 forks in a row failed. The last one: The agent does not answer.", "hint": "Look at the log of the hypervisor.",
        },
        SnapshotState.STALE: {
            "facts": FACTS, "ended_at": began,
            "problem": "The snapshot no longer fits this host: hypervisor was QEMU 10.0.1, and is QEMU 10.0.2.",
        },
    }  # fmt: skip
    with catalog.write():
        row = Snapshot.create(seed=of.id, state=state, **{"created_at": began, **by_state[state], **values})
    return Snapshot.get_by_id(row.id)


def machine(
    machine_class: Class,
    state: MachineState,
    *,
    owner: Actor | None = None,
    left: timedelta | None = None,
    age: timedelta = timedelta(minutes=40),
    **values: object,
) -> Machine:
    """A machine in a state, with a lease when it has an owner."""
    promoted = seed_rows.promoted(machine_class.name)
    assert promoted is not None
    made: datetime = catalog.now() - age
    with catalog.write():
        (slot,) = machine_rows.next_slots(1, 60_000)
        row = machine_rows.create(machine_class, promoted, str(uuid.uuid4()), slot)
        ready = None if state in (MachineState.PLANNED, MachineState.CREATING) else made + timedelta(seconds=140)
        changes = {"state": state, "created_at": made, "ready_at": ready, "state_since": ready or made, "owner": owner and owner.account_id}
        Machine.update({**changes, **values}).where(Machine.id == row.id).execute()
        record(EventKind.MACHINE_CREATING, f"{row.name} is being made for the buffer.", class_name=machine_class.name, machine_id=row.id)
        if owner:
            ends = catalog.now() + (left or timedelta(hours=7, minutes=42))
            began = ends - timedelta(minutes=machine_class.lease_minutes)
            Lease.create(machine=row.id, account=owner.account_id, began_at=began, ends_at=ends)
            record(
                EventKind.MACHINE_ASSIGNED,
                f"{owner.name} got {row.name} at once.",
                owner,
                class_name=machine_class.name,
                machine_id=row.id,
                hit=True,
            )
        if state is MachineState.IN_USE:
            Reading.create(
                machine=row.id, cpu=0.18, memory_used=412, memory_private=388, memory_shared=21, disk_rate=81920.0, net_rate=20480.0
            )
        elif state is MachineState.READY:
            forked: dict[str, object] = {"origin": "fork", "readiness": "paused", "ready_at": made + timedelta(seconds=0.38), **values}
            Machine.update(forked).where(Machine.id == row.id).execute()
            Reading.create(machine=row.id, cpu=0, memory_used=190, memory_private=34, memory_shared=19, disk_rate=0.0, net_rate=0.0)
    return Machine.get(Machine.id == row.id)


SERVICE = {"name": "www.example.org", "path": "/", "sticky": False, "drain": 60, "connections": 100}


def service(settings: Settings) -> Class:
    """A web site with a replica in each state, and its last hour."""
    site = machine_class("website", {**NOTEBOOK, "title": "Web site", "service": SERVICE}, minimum=2, maximum=6, buffer=0)
    seed("website", 1, promoted=True)
    moment = catalog.now()
    drains: dict[str, object] = {"state": ReplicaState.DRAINING, "reason": "fewer are wanted", "deadline": moment + timedelta(seconds=40)}
    states: tuple[dict[str, object], ...] = ({}, {"up": False}, drains)
    ids = []
    for number, values in enumerate(states, 1):
        made = machine(site, MachineState.READY, readiness="running")
        ids.append(made.id)
        with catalog.write():
            Replica.create(
                machine=made.id,
                machine_class="website",
                number=number,
                **{"state": ReplicaState.SERVING, "since": moment - timedelta(minutes=9 * number), **values},
            )
            record(EventKind.REPLICA_SERVING, f"{made.name} serves.", class_name="website", machine_id=made.id)
    with contextlib.closing(Store(settings.readings)) as store:
        for number in range(180):
            busy = 0.5 + 0.5 * math.sin(number / 23)
            read: dict[str, float | None] = {"requests": 40 * busy, "requests_failed": 0, "latency": 0.02 + 0.03 * busy}
            of_all = {**read, "replicas": 2 + number // 120, "replicas_wanted": 2 + (number + 9) // 120, "requests_queued": 0}
            at = moment - timedelta(seconds=20 * (180 - number))
            store.record(at, {Subject(Kind.CLASS, "website"): of_all, **{Subject(Kind.MACHINE, id): read for id in ids[:1]}})
    return site


def engine(host: dict[str, object] = HOST, problem: str = "") -> None:
    """What a living engine says."""
    with catalog.write():
        Engine.insert(
            id=1, hypervisor_ok=not problem, hypervisor_problem=problem, host=host, seen_at=catalog.now()
        ).on_conflict_replace().execute()


def history(settings: Settings, minutes: int = 60) -> None:
    """The last hour of host, classes and machines in use, a look every twenty seconds; the engine was away for five minutes."""
    end = catalog.now()
    classes = [row.name for row in Class.select()]
    held = [row.id for row in Machine.select().where(Machine.state == MachineState.IN_USE)]
    with contextlib.closing(Store(settings.readings)) as store:
        for number in range(minutes * 3):
            at = end - timedelta(minutes=minutes) + timedelta(seconds=20 * number)
            if 20 <= number / 3 < 25:
                continue
            busy = 0.5 + 0.5 * math.sin(number / 23)
            load = {
                "cpu": round(0.05 + 0.6 * busy, 3), "memory_used": 300 + 200 * busy, "memory_private": 280 + 190 * busy, "memory_shared": 21,
                "disk_read": 40_000 * busy, "disk_written": 90_000.0, "net_received": 20_000 + 300_000 * busy, "net_sent": 15_000.0,
            }  # fmt: skip
            pools = {
                "creation": 1, "buffer": 3, "production": 2 + number // 60, "queue": number // 90, "wait": number % 90 * (number // 90),
                "hits": 12 * busy, "misses": 2,
            }  # fmt: skip
            host: dict[str, float | None] = {
                "memory": 65_536, "memory_private": 5000 + 20_000 * busy, "memory_shared": 900, "memory_other": 6000,
                "memory_allocated": 26_000 + 9000 * busy, "memory_allocatable": 64_512, "disk_usage": 0.57,
                "memory_used": None,
            }  # fmt: skip
            store.record(
                at,
                {
                    HOST_READINGS: {**load, **pools, **host},
                    **{Subject(Kind.CLASS, name): {**load, **pools} for name in classes},
                    **{Subject(Kind.MACHINE, id): {**load, "memory": 1024} for id in held},
                },
            )


def set_up(title: str = "Hillside School", time_zone: str = "Europe/Berlin") -> None:
    """As if the wizard had been gone through."""
    with catalog.write():
        options.put("setup_done", True)
        options.put("title", title)
        options.put("time_zone", time_zone)


def scenario(*, offered: bool = True) -> None:
    """Two versions of the shipped scenario, and besides a newer one that is offered and one that grace sent."""
    shipped = tree.read_folder(REPOSITORY / "playbooks/scenarios/notebook")

    def changed(old: str, new: str) -> tree.Tree:
        return {**shipped, tree.MAIN: tree.File(shipped[tree.MAIN].content.decode().replace(old, new).encode())}

    base = tree.listing(shipped)
    ours = changed("memory: 1024", "memory: 2048")
    with catalog.write():
        scenario_rows.put(shipped, ScenarioState.CURRENT, base, comment="As it came")
        scenario_rows.put(ours, ScenarioState.CURRENT, base, author="grace", comment="More memory", changes="notebook: size.memory")
        if offered:
            scenario_rows.put(changed("memory: 1024", "memory: 1536"), ScenarioState.OFFERED, base)
            scenario_rows.put(changed("    size:", "    packages: [git]\n    size:"), ScenarioState.IMPORTED, base, author="grace")


class _Copy(NamedTuple):
    """The busy morning as it was filled in last, for whoever wants it just afterwards."""

    at: float  # monotonic
    rows: sqlite3.Connection
    people: dict[str, Actor]


_copies: list[_Copy] = []
AS_GOOD_AS_NEW = 10  # seconds; all of its times are counted from when it was filled in


def busy(settings: Settings) -> dict[str, Actor]:
    """The busy morning: people, two classes, seeds in several states, machines in all pools. Returns the actors by name."""
    log = settings.logs / "seeds" / "notebook-3.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text("".join(f"TASK [jupyterlab : step {number}] ****\nok: [seed]\n" for number in range(1, 60)))
    connection: sqlite3.Connection = database.db.connection()
    untouched = connection.total_changes == 0
    if untouched and _copies and time.monotonic() - _copies[0].at < AS_GOOD_AS_NEW:
        _copies[0].rows.backup(connection)
        with catalog.write():
            Seed.update(log=str(log)).where(Seed.log != "").execute()
        return dict(_copies[0].people)
    begun = time.monotonic()
    with catalog.write():
        people = _busy(log)
    if untouched:
        while _copies:
            _copies.pop().rows.close()
        _copies.append(_Copy(begun, sqlite3.connect(":memory:", check_same_thread=False), dict(people)))
        connection.backup(_copies[0].rows)
    return people


def _busy(log: Path) -> dict[str, Actor]:
    set_up()
    people = {name: account(name, full, is_admin=name == "grace") for name, full in PEOPLE.items()}
    notebook = machine_class("notebook", NOTEBOOK, buffer=3, maximum=24, per_person=2)
    studio = machine_class("studio", STUDIO, buffer=1, maximum=6)
    seed("notebook", 1)
    kept = seed("notebook", 2, promoted=True)
    snapshot(kept, SnapshotState.STALE)
    snapshot(kept)
    seed(
        "notebook", 3, SeedState.BUILDING, task="jupyterlab : install the locked environment", task_number=12, task_total=31, log=str(log),
        started_at=catalog.now() - timedelta(seconds=74),
    )  # fmt: skip
    snapshot(seed("studio", 1, promoted=True))
    seed(
        "studio",
        2,
        SeedState.FAILED,
        problem="The package r-base-studio does not exist in Debian 12.",
        hint="Correct its name in scenario.yml.",
    )
    for _ in range(3):
        machine(notebook, MachineState.READY)
    machine(notebook, MachineState.CREATING, age=timedelta(seconds=50), step="waiting for its agent")
    machine(notebook, MachineState.IN_USE, owner=people["ada"])
    machine(notebook, MachineState.IN_USE, owner=people["alan"], left=timedelta(minutes=17))
    machine(notebook, MachineState.IN_USE, owner=people["mary"], left=timedelta(hours=2))
    machine(notebook, MachineState.RECLAIMING, reclaim_reason="released")
    machine(studio, MachineState.CREATING, age=timedelta(seconds=95), step="starting")
    machine(studio, MachineState.IN_USE, owner=people["mary"], left=timedelta(hours=20))
    with catalog.write():
        Request.create(account=people["alan"].account_id, machine_class="studio", state=RequestState.WAITING, hit=False)
        record(EventKind.REQUEST_WAITING, "alan waits for a studio: none is ready.", people["alan"], class_name="studio", hit=False)
        record(
            EventKind.SEED_FAILED,
            "Seed studio v2 failed: the package r-base-studio does not exist.",
            level=Level.ERROR,
            class_name="studio",
        )
        record(EventKind.SIGN_IN_FAILED, "Failed sign-in as 'root'.", Actor("root", None, "192.0.2.7"), level=Level.WARNING)
        _organise(people)
    engine()
    memory.allow(memory.Allowed(64512, 64512))
    return people


def _organise(people: dict[str, Actor]) -> None:
    """Two departments, a group with a role and a quota."""
    science = OrgUnit.create(parent=ROOT, name="Science")
    OrgUnit.create(parent=science, name="Mathematics")
    OrgUnit.create(parent=ROOT, name="Workshop")
    group = Group.create(name="analysts", about="Those who look after the studio", org_unit=science)
    Member.create(group=group, account=people["mary"].account_id)
    Grant.create(role="class_manager", group=group, over_class="studio", given_by=people["grace"].account_id)
    Quota.create(group=group, each=False, machines=6, memory=24 * 1024)


PEOPLE = {"grace": "Grace Hopper", "ada": "Ada Lovelace", "alan": "Alan Turing", "mary": "Mary Somerville"}


def many_machines(machine_class: Class, count: int, owner: Actor) -> None:
    """`count` machines of a class, a third of them held by `owner`, in one transaction."""
    promoted = seed_rows.promoted(machine_class.name)
    assert promoted is not None
    states = [MachineState.IN_USE, MachineState.READY, MachineState.RETIRED]
    rows = [
        {
            "id": str(uuid.UUID(int=number)), "name": f"{machine_class.name}-m{number}", "machine_class": machine_class.name, "seed": promoted.id, "slot": 100_000 + number, "door": 100_000 + number,
            "state": states[number % 3], "state_since": catalog.now(), "vcpus": 1, "memory": 512, "disk": 8, "step": "", "problem": "",
            "attempts": 0, "reclaim_reason": "", "created_at": catalog.now(), "ready_at": catalog.now(),
            "owner": owner.account_id if number % 3 == 0 else None,
        }
        for number in range(count)
    ]  # fmt: skip
    ends = catalog.now() + timedelta(hours=3)
    leases = [
        {"machine": row["id"], "account": owner.account_id, "began_at": catalog.now(), "ends_at": ends, "extensions": 0, "end_reason": ""}
        for row in rows
        if row["owner"]
    ]
    readings = [
        {"machine": row["id"], "at": catalog.now(), "cpu": 0.1, "memory_used": 200, "disk_rate": 0.0, "net_rate": 0.0}
        for row in rows
        if row["owner"]
    ]
    with catalog.write():
        for model, values in ((Machine, rows), (Lease, leases), (Reading, readings)):
            for at in range(0, len(values), 500):
                model.insert_many(values[at : at + 500]).execute()


ASKING = {
    "assign": {
        "before": [
            {
                "name": "manager", "kind": "approval", "title": "A manager says yes",
                "with": {"text": "Is it for a course?\nThe studio is licensed for 6 people.", "expires": "72h"},
            },
            {"name": "licence", "kind": "task", "title": "Register the licence", "with": {"text": "Enter their name at the licence server."}},
            {"name": "large", "kind": "approval", "title": "The head of IT says yes", "when": {"memory": {"above": 99999}}},
        ],
        "after": [{"name": "welcome", "kind": "task", "title": "Show them round", "with": {"text": "Call them."}}],
    }
}  # fmt: skip


def asking(people: dict[str, Actor]) -> None:
    """People are asked before somebody gets a studio: mary is an approver, ada and alan have asked, and alan's was refused."""
    with catalog.write():
        Request.update(state=RequestState.CANCELLED, ended_at=catalog.now()).where(Request.machine_class == "studio").execute()
        Sequence.create(name="asking", title="Asking")
        moves = {name: Around.model_validate(around) for name, around in ASKING.items()}
        sequences.add("asking", sequence.dump(moves), VersionState.PROMOTED, author="grace")
        Class.update(sequence="asking").where(Class.name == "studio").execute()
        Grant.create(role="approver", account=people["mary"].account_id, over_class="studio")
    machine_verbs.request(people["alan"], "studio")
    go_on()
    inbox.decide(people["mary"], WorkItem.get().id, yes=False, comment="All six licences are given out <until June>.")
    machine_verbs.request(people["ada"], "studio")
    go_on()


def go_on() -> None:
    """Take all runs as far as people let them, without an engine."""
    runner = Runner(ACTIVITIES, ended=ended)
    for due in runs.due_steps(catalog.now()):
        runner.advance(due.id)
