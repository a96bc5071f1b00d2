"""Queries of snapshots."""

from datetime import timedelta

from peewee import Value

from appliance.catalog.database import rows
from appliance.catalog.models import Class, Machine, MachineState, Seed, Snapshot, SnapshotState, now, stamp

LONGEST_WAIT = timedelta(hours=24)  # after one that failed
NOTHING = Value("[]", converter=False)  # an empty list, as JSON


def current(seed_id: int) -> Snapshot | None:
    """The snapshot that a seed's machines are, or will be, forked from."""
    found: Snapshot | None = Snapshot.get_or_none(Snapshot.seed == seed_id, Snapshot.state != SnapshotState.STALE)
    return found


def by_id(id: int) -> Snapshot | None:
    found: Snapshot | None = Snapshot.get_or_none(Snapshot.id == id)
    return found


def of_seed(seed_id: int) -> list[Snapshot]:
    """All snapshots of a seed, newest first."""
    return list(Snapshot.select().where(Snapshot.seed == seed_id).order_by(Snapshot.id.desc()))


def due_snapshots() -> list[Snapshot]:
    """Snapshots to be taken now: begun, or failed a while ago, of seeds whose machines should be forked; oldest first."""
    moment = now()
    waits = (Snapshot.retry_at > moment) & (Snapshot.retry_at <= moment + LONGEST_WAIT)
    query = (
        Snapshot.select(Snapshot, Seed, Class)
        .join(Seed)
        .join(Class)
        .where(
            Seed.promoted == True,  # noqa: E712
            Class.fork == True,  # noqa: E712
            Class.enabled == True,  # noqa: E712
            (Class.maximum > 0) | (Class.windows != NOTHING) | (Class.one_offs != NOTHING),
            (Snapshot.state == SnapshotState.BUILDING) | ((Snapshot.state == SnapshotState.FAILED) & ~waits),
        )
        .order_by(Snapshot.id)
    )
    return list(query)


def missing() -> list[int]:
    """Ids of the promoted seeds whose machines should be forked and have nothing to be forked from, of classes that may have machines."""
    sql = """
        SELECT seed.id FROM seed JOIN class ON class.name = seed.class_name
        WHERE seed.promoted = 1 AND class.fork = 1 AND class.enabled = 1
        AND (class.maximum > 0 OR class.windows <> '[]' OR class.one_offs <> '[]')
        AND NOT EXISTS (SELECT 1 FROM snapshot WHERE snapshot.seed_id = seed.id AND snapshot.state <> 'stale') ORDER BY seed.id
    """
    return [row[0] for row in rows(sql)]


def ready() -> list[Snapshot]:
    """Snapshots that can be forked from, of promoted seeds."""
    query = Snapshot.select(Snapshot, Seed, Class).join(Seed).join(Class)
    return list(query.where(Snapshot.state == SnapshotState.READY, Seed.promoted == True))  # noqa: E712


def unused() -> list[Snapshot]:
    """Snapshots with files that nobody will fork from again, and no machine lives on."""
    live = Machine.select(Machine.snapshot).where(Machine.state != MachineState.RETIRED, Machine.snapshot.is_null(False))
    current = (Snapshot.state != SnapshotState.STALE) & (Seed.promoted == True)  # noqa: E712
    # By its name: one that was adopted with its machine may be another one's by now, which found it taken already.
    used = Snapshot.select(Snapshot.name).join(Seed).where(current | Snapshot.id.in_(live))
    return list(Snapshot.select(Snapshot, Seed).join(Seed).where(Snapshot.name != "", Snapshot.name.not_in(used)))


def begin_snapshot(seed_id: int, *, attempts: int = 0) -> None:
    """A snapshot that has yet to be taken; call it inside `write()`."""
    Snapshot.create(seed=seed_id, state=SnapshotState.BUILDING, attempts=attempts)


def being_taken() -> set[str]:
    """The classes whose first chance of a fork is a snapshot under way."""
    sql = """
        SELECT seed.class_name FROM snapshot JOIN seed ON seed.id = snapshot.seed_id JOIN class ON class.name = seed.class_name
        WHERE seed.promoted = 1 AND class.fork = 1 AND snapshot.state = 'building'
    """
    return {row[0] for row in rows(sql)}


def ids() -> set[int]:
    """Of snapshots under way."""
    return {row[0] for row in rows("SELECT id FROM snapshot WHERE state IN ('building', 'failed')")}


def retry_now(class_name: str) -> None:
    """Have a failed snapshot of the class's promoted seed taken at the next look; call it inside `write()`."""
    rows(
        """
        UPDATE snapshot SET retry_at = ? WHERE state = 'failed'
        AND seed_id IN (SELECT id FROM seed WHERE class_name = ? AND promoted = 1)
        """,
        (stamp(now()), class_name),
    )
