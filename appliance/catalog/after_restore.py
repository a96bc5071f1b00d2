"""What has to change in a catalog that was restored from a backup, on this appliance or another one.

Whatever people held comes back: same name, owner, lease and data disk, with a clean system disk, made by a run that outlasts restarts.
What nobody held is gone, and made anew by the policy. Everything is one transaction, which may be done again.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from appliance.catalog import options, runs, seeds, sequences, timezone
from appliance.catalog.database import write
from appliance.catalog.event_kinds import EventKind
from appliance.catalog.events import Actor, record
from appliance.catalog.machines import HELD
from appliance.catalog.models import (
    Aside,
    Class,
    DataDisk,
    DiskState,
    Engine,
    Handover,
    KeptDisk,
    Lease,
    Machine,
    MachineState,
    Run,
    Seed,
    SeedState,
    Session,
    Snapshot,
    now,
)

GRACE = timedelta(hours=24)  # that every lease has at least, from the moment of the restore
SEQUENCE = "recovery"
NOT_IN_IT = "It was not in the backup that the appliance was restored from."


@dataclass(frozen=True)
class Adopted:
    """What came back: machines that somebody held, of how many people; data disks, those that were not in the backup; seeds to be built again."""

    machines: int
    people: int
    disks: int
    missing: int
    seeds: int


def adopt(id: str, taken_at: datetime, by: str, former: str, state: Path, disks: Mapping[str, str]) -> Adopted | None:
    """Make a restored catalog this appliance's, whose state directory is `state` and was `former`; None when that was done already.

    `disks` are the data disks that came with it, or why they did not, by id.
    """
    with write():
        if options.get("restored").get("id") == id:
            return None
        moment, actor = now(), Actor(by or "dpe-host")
        _forget()
        found = _machines(moment, actor)
        missing = _disks(disks)
        lacking = _seeds(former, state, actor)
        options.put("restored", {"id": id, "at": moment.isoformat(), "taken_at": taken_at.isoformat()})
        options.put("setup_code", "")
        kept, people = len(found), len({machine.owner_id for machine in found})
        adopted = Adopted(kept, people, len(disks) - missing, missing, lacking)
        words = (
            f"The appliance was restored from the backup of {timezone.timestamp(taken_at)}: {kept} machines of {people} people are made again, "
            f"{adopted.disks} data disks are back. Every lease lasts {GRACE // timedelta(hours=1)} hours at least."
        )
        hint = f"{missing} data disks were not in it; see the page Data disks." if missing else ""
        record(EventKind.APPLIANCE_RESTORED, words, actor, object="appliance", hint=hint)
    return adopted


def _forget() -> None:
    """What was true of the other server only: who is signed in, what was being done, what was set aside, snapshots and kept disks, whose files are not here."""
    Aside.delete().execute()
    options.put("undecided", {})
    Session.delete().execute()
    Engine.delete().execute()
    Handover.delete().execute()
    Machine.update(snapshot=None).execute()
    Snapshot.delete().execute()
    KeptDisk.delete().execute()
    ended = list(Run.select(Run.id).where(Run.ended_at.is_null(), Run.machine.is_null(False) | (Run.kind == "recover")))
    runs.withdraw([run.id for run in ended], "The appliance was restored from a backup.")


def _machines(moment: datetime, actor: Actor) -> list[Machine]:
    """Those that somebody holds are made anew; the others are gone. Returns the former."""
    holders = {lease.machine_id: lease for lease in list(Lease.select().where(Lease.ended_at.is_null()))}
    version = sequences.promoted(SEQUENCE)
    back = []
    for machine in list(Machine.select().where(Machine.state != MachineState.RETIRED)):
        if machine.owner_id is None or machine.id not in holders or machine.state not in (*HELD, MachineState.QUARANTINED):
            _retire(machine, moment)
            continue
        values = {"state": MachineState.REPROVISIONING, "state_since": moment, "step": "", "problem": "", "attempts": 0, "retry_at": None}
        Machine.update(values).where(Machine.id == machine.id).execute()
        lease = holders[machine.id]
        ends = max(lease.ends_at, moment + GRACE)
        Lease.update(ends_at=ends, warned_at=None, idle_warned_at=None, busy_at=None, kept_until=None).where(Lease.id == lease.id).execute()
        runs.begin_run(
            "reprovision", machine_id=machine.id, class_name=machine.class_name, account_id=machine.owner_id, priority=1,
            version_id=version.id if version else None, facts={"restored": True}, asked_by=actor.name,
        )  # fmt: skip
        assert machine.owner is not None
        message = f"{machine.name} is made again after the restore, for {machine.owner.name}; their lease ends {timezone.timestamp(ends)}."
        record(
            EventKind.MACHINE_RESTORED, message, actor, class_name=machine.class_name, machine_id=machine.id, account_id=machine.owner_id
        )
        back.append(machine)
    return back


def _retire(machine: Machine, moment: datetime) -> None:
    Lease.update(ended_at=moment, end_reason="not in use at the time of the backup").where(
        Lease.machine == machine.id, Lease.ended_at.is_null()
    ).execute()
    DataDisk.update(machine=None).where(DataDisk.machine == machine.id).execute()
    values = {"state": MachineState.RETIRED, "state_since": moment, "retired_at": moment, "owner": None, "step": "", "problem": ""}
    Machine.update(values).where(Machine.id == machine.id).execute()


def _disks(there: Mapping[str, str]) -> int:
    """Data disks without a file are put aside, so that nobody gets an empty one in silence; returns how many."""
    missing = 0
    for disk in list(DataDisk.select()):
        problem = there.get(disk.id, NOT_IN_IT)
        values: dict[str, object] = {"backup_asked": False, "backup_problem": "", "backup_at": None}
        if disk.state is DiskState.REMOVING or (disk.state is DiskState.NEW and problem):
            pass  # there never was one, or it was to go
        elif problem:
            values |= {
                "state": DiskState.TROUBLED,
                "machine": None,
                "problem": f"{NOT_IN_IT} {problem if problem != NOT_IN_IT else ''}".strip(),
            }
            missing += 1
        elif disk.state is not DiskState.TROUBLED:
            values |= {"state": DiskState.READY}
        DataDisk.update(values).where(DataDisk.id == disk.id).execute()
    return missing


def _seeds(former: str, state: Path, actor: Actor) -> int:
    """Seeds lie elsewhere now; those whose files did not come with the backup are built again. Returns how many those are."""
    lacking: list[str] = []
    for seed in list(Seed.select()):
        files = {name: _moved(value, former, state) for name, value in seed.files.items()}
        if seed.state is SeedState.READY and not _is_there(files, seed.manifest):
            if seed.promoted:
                lacking.append(seed.class_name)
            values: dict[str, object] = {"state": SeedState.REMOVED, "promoted": False, "problem": NOT_IN_IT, "hint": "Build a new one."}
            Seed.update(values).where(Seed.id == seed.id).execute()
        else:
            Seed.update(files=files, log=_moved(seed.log, former, state)).where(Seed.id == seed.id).execute()
    built = {seed.class_name for seed in list(Seed.select().where(Seed.state.in_([SeedState.QUEUED, SeedState.BUILDING])))}
    for class_name in lacking:
        if class_name not in built and Class.get_by_id(class_name).enabled:
            Seed.create(machine_class=class_name, version=seeds.next_version(class_name), manifest={"lost": True})  # the image may have it
            record(EventKind.SEED_QUEUED, f"A seed of {class_name} is built again: it was not in the backup.", actor, class_name=class_name)
    return len(lacking)


def _is_there(files: Mapping[str, str], manifest: Mapping[str, object]) -> bool:
    """Whether a seed's files are those that it was made with: a fresh appliance may have another one of that class and version."""
    disk = Path(files.get("disk", "/nowhere"))
    try:
        return disk.exists() and bool(json.loads((disk.parent / "seed.json").read_bytes()) == manifest)
    except (OSError, ValueError):
        return False


def _moved(path: str, former: str, state: Path) -> str:
    return f"{state}/{path[len(former) + 1 :]}" if isinstance(path, str) and path.startswith(f"{former}/") else path
