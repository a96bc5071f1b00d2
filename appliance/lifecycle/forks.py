"""Snapshots and forks as the catalog sees them: taken, used, counted, given up for a while, and tried again."""

import logging
from datetime import timedelta

from appliance import catalog
from appliance.backoff import doubled
from appliance.catalog import Class, EventKind, Machine, Seed, Snapshot, SnapshotState, now, policies, record, scenarios, snapshots
from appliance.errors import BadInput, DpeError
from appliance.hypervisor.provider import Provider, Unfit
from appliance.scenario import applications
from appliance.seeds import snapshot as files
from appliance.settings import Settings

log = logging.getLogger(__name__)

TRIES = 3  # forks of a class that may fail one after the other before its machines are booted instead
AGAIN = timedelta(minutes=10)  # after which another snapshot is tried, doubling


def usable(machine_class: Class, seed: Seed) -> Snapshot | None:
    """What a new machine of the class is to be forked from; None when it is to be booted."""
    found = snapshots.current(seed.id) if machine_class.fork else None
    return found if found is not None and found.state is SnapshotState.READY and not outgrown(found, machine_class) else None


def outgrown(snapshot: Snapshot, machine_class: Class) -> bool:
    """Whether machines of the class may be given more memory, or less, than forks of a snapshot that is ready."""
    return bool(snapshot.facts.get("memory_room", 0) != policies.memory_room(machine_class))


def job(snapshot: Snapshot) -> files.SnapshotJob:
    """What seeds.snapshot needs to know."""
    seed, spec = snapshot.seed, snapshot.seed.machine_class.spec
    further = applications.further(spec, scenarios.own_applications)
    name = snapshot.name or f"{seed.name}/snapshot-{snapshot.id}"
    room = policies.memory_room(seed.machine_class)
    return files.SnapshotJob(snapshot.id, name, seed.class_name, seed.version, seed.cmdline, spec, further, room)


def take_snapshot(snapshot: Snapshot, settings: Settings, provider: Provider) -> None:
    """Take one snapshot, to its end. Meanwhile machines are booted only for people who wait."""
    seed = snapshot.seed
    name = f"{seed.class_name} v{seed.version}"
    with catalog.write():
        Snapshot.update(state=SnapshotState.BUILDING, retry_at=None, created_at=now(), ended_at=None).where(
            Snapshot.id == snapshot.id
        ).execute()
        record(EventKind.SNAPSHOT_BUILDING, f"Taking the snapshot of {name}.", class_name=seed.class_name, seed_id=seed.id)

    def report(text: str) -> None:
        with catalog.write():
            Snapshot.update(step=text).where(Snapshot.id == snapshot.id).execute()

    what = job(snapshot)
    try:
        facts = files.take_snapshot(what, settings, provider, report) | ({"memory_room": what.memory_room} if what.memory_room else {})
    except DpeError as error:
        provider.list()  # raises when the hypervisor is away: then it is simply tried again
        wait = _wait(snapshot.attempts)
        with catalog.write():
            Snapshot.update(
                state=SnapshotState.FAILED,
                step="",
                problem=error.message,
                hint=error.hint,
                attempts=snapshot.attempts + 1,
                retry_at=now() + wait,
                ended_at=now(),
            ).where(Snapshot.id == snapshot.id).execute()
            record(
                EventKind.SNAPSHOT_FAILED,
                f"The snapshot of {name} could not be taken: {error.message} Its machines are booted until it can.",
                class_name=seed.class_name,
                seed_id=seed.id,
                hint=error.hint,
            )
        return
    with catalog.write():
        Snapshot.update(
            state=SnapshotState.READY,
            step="",
            problem="",
            hint="",
            name=what.name,
            facts=facts,
            ended_at=now(),
        ).where(Snapshot.id == snapshot.id).execute()
        Class.update(fork_failures=0, fork_problem="").where(Class.name == seed.class_name).execute()
        record(
            EventKind.SNAPSHOT_READY,
            f"The snapshot of {name} is ready: its machines are forked from now on.",
            class_name=seed.class_name,
            seed_id=seed.id,
            **facts,
        )


def _wait(attempts: int) -> timedelta:
    return doubled(AGAIN, attempts, snapshots.LONGEST_WAIT)


def came_up(class_name: str) -> None:
    """A fork was made; call it inside `write()`."""
    Class.update(forked=Class.forked + 1).where(Class.name == class_name).execute()


def answered(class_name: str) -> None:
    """A fork works; call it inside `write()`."""
    Class.update(fork_failures=0, fork_problem="").where(Class.name == class_name, Class.fork_failures > 0).execute()


def failed(machine: Machine, error: DpeError) -> None:
    """A machine that should have been a fork was, or will be, booted instead: count it, and give forking up after a few."""
    with catalog.write():
        machine_class = Class.get_by_id(machine.class_name)
        failures = machine_class.fork_failures + 1
        Class.update(fork_failed=machine_class.fork_failed + 1, fork_failures=failures, fork_problem=str(error)).where(
            Class.name == machine_class.name
        ).execute()
        record(
            EventKind.MACHINE_NOT_FORKED,
            f"{machine.name} could not be forked, and is booted instead: {error.message}",
            class_name=machine_class.name,
            machine_id=machine.id,
            hint=error.hint,
        )
        snapshot = None if machine.snapshot_id is None else snapshots.by_id(machine.snapshot_id)
        if snapshot is None or snapshot.state is not SnapshotState.READY:
            return
        if isinstance(error, Unfit):
            stale(snapshot, error)
        elif failures >= TRIES:
            give_up(machine_class, snapshot, error)


def stale(snapshot: Snapshot, error: DpeError) -> None:
    """The snapshot no longer fits its host, or is damaged: another one is taken at once."""
    with catalog.write():
        changed = (
            Snapshot.update(state=SnapshotState.STALE, problem=error.message)
            .where(Snapshot.id == snapshot.id, Snapshot.state == SnapshotState.READY)
            .execute()
        )
        if changed:
            seed = snapshot.seed
            record(
                EventKind.SNAPSHOT_STALE,
                f"The snapshot of {seed.class_name} v{seed.version} is no longer used: {error.message} Another one is taken.",
                class_name=seed.class_name,
                seed_id=seed.id,
            )


def renew(snapshot: Snapshot) -> None:
    """Give up a snapshot that is ready, when machines of its class may be given more memory now, or less."""
    if outgrown(snapshot, snapshot.seed.machine_class):
        stale(snapshot, DpeError("The class says another “memory at most”."))


def give_up(machine_class: Class, snapshot: Snapshot, error: DpeError) -> None:
    """Forks keep failing though nothing is known to be wrong with their snapshot: boot for a while, then try with another."""
    wait = _wait(snapshot.attempts)
    Snapshot.update(state=SnapshotState.STALE, problem=error.message).where(Snapshot.id == snapshot.id).execute()
    Snapshot.create(
        seed=snapshot.seed_id,
        state=SnapshotState.FAILED,
        attempts=snapshot.attempts + 1,
        retry_at=now() + wait,
        problem=f"{TRIES} forks in a row failed. The last one: {error.message}",
        hint=error.hint,
    )
    record(
        EventKind.CLASS_BOOTED,
        f"Machines of {machine_class.name} are booted for now: {TRIES} forks in a row failed. Another snapshot is tried in {wait.total_seconds() / 60:.0f} minutes.",
        class_name=machine_class.name,
    )


def check_snapshot(snapshot: Snapshot, settings: Settings, provider: Provider) -> None:
    """Read a snapshot whole, and give it up when it does not fit."""
    what = job(snapshot)
    try:
        provider.check_snapshot(files.template_spec(what, settings), what.name)
    except Unfit as error:
        stale(snapshot, error)


def remove(snapshot: Snapshot, provider: Provider) -> None:
    """Remove a snapshot that nobody forks from any more."""
    try:
        provider.remove_snapshot(snapshot.name)
    except BadInput as error:
        log.error("nothing of the snapshot %s is removed: %s", snapshot.id, error)
    with catalog.write():
        Snapshot.update(name="", state=SnapshotState.STALE).where(Snapshot.id == snapshot.id).execute()
