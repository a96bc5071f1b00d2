"""Services and their replicas: the machines that requests are sent to."""

from datetime import datetime, timedelta

from peewee import JOIN, fn

from appliance.catalog import database, policies
from appliance.catalog.database import rows
from appliance.catalog.models import Class, Machine, MachineState, Replica, ReplicaState, Seed, now
from appliance.errors import Conflict


def classes() -> list[Class]:
    """The classes that are services, by name."""
    names = [row[0] for row in rows("SELECT name FROM class WHERE json_extract(spec, '$.service') IS NOT NULL")]
    return list(Class.select().where(Class.name.in_(names)).order_by(Class.name)) if names else []


def servers(machine_class: Class) -> int:
    """How many replicas the class may ever have at once, at any time of its calendar; and no less than there are."""
    last: int = rows("SELECT coalesce(max(number), 0) FROM replica WHERE class_name = ?", (machine_class.name,))[0][0]
    return max(1, last, policies.most(machine_class))


def all() -> list[Replica]:
    """Every replica, with its machine, by class and number."""
    query = Replica.select(Replica, Machine).join(Machine, on=(Replica.machine == Machine.id))
    return list(query.order_by(Replica.machine_class, Replica.number))


def of_machine(machine_id: str) -> Replica | None:
    """The replica that a machine is."""
    return next(iter(database.found(Replica, "machine_id = ?", (machine_id,))), None)


def joining(class_name: str) -> list[Machine]:
    """The ready machines of a class that are no replicas yet, oldest first."""
    known = Replica.select(Replica.machine)
    query = Machine.select().where(Machine.machine_class == class_name, Machine.state == MachineState.READY, Machine.id.not_in(known))
    return list(query.order_by(Machine.number))


def join(machine: Machine, servers: int) -> Replica:
    """Make a replica of a ready machine, behind a server that has none. Call it inside `write()`. Raises Conflict when either is not there."""
    if not rows("SELECT 1 FROM machine WHERE id = ? AND state = 'ready'", (machine.id,)):
        raise Conflict(f"{machine.name} is not ready any more.")
    taken = {row[0] for row in rows("SELECT number FROM replica WHERE class_name = ?", (machine.class_name,))}
    free = next((number for number in range(1, servers + 1) if number not in taken), None)
    if free is None:
        raise Conflict(f"{machine.class_name} has no server for another replica.")
    return Replica.create(machine=machine.id, machine_class=machine.class_name, number=free, state=ReplicaState.SERVING)


def drain(machine_id: str, deadline: datetime, reason: str, *, dismissed: bool = False) -> bool:
    """Have a serving replica drain, and with `dismissed` go whatever is wanted; whether it began with this. Call it inside `write()`."""
    changed = database.change(
        Replica,
        {"state": ReplicaState.DRAINING, "since": now(), "deadline": deadline, "reason": reason},
        "machine_id = ? AND state = 'serving'",
        (machine_id,),
    )
    if dismissed:
        database.change(Replica, {"dismissed": True, "reason": reason}, "machine_id = ?", (machine_id,))
    return bool(changed)


def go_on(machine_id: str) -> bool:
    """Have a replica that drains serve again, unless it is dismissed. Call it inside `write()`."""
    values = {"state": ReplicaState.SERVING, "since": now(), "deadline": None, "reason": ""}
    return bool(database.change(Replica, values, "machine_id = ? AND state = 'draining' AND dismissed = 0", (machine_id,)))


def note_up(machine_id: str, *, up: bool) -> None:
    """What its checks and its traffic say. Call it inside `write()`."""
    database.change(Replica, {"up": up}, "machine_id = ?", (machine_id,))


def forget(machine_id: str) -> None:
    """It is none any more. Call it inside `write()`."""
    Replica.delete().where(Replica.machine == machine_id).execute()


def leaving(class_name: str, count: int, keep: int) -> list[Machine]:
    """Ready machines of a service to remove first: those that drain already, then those from an old seed, then the oldest.

    So many that at least `keep` stay: some may have gone since they were counted.
    """
    drains = fn.COALESCE(Replica.state == ReplicaState.DRAINING, False)
    query = (
        Machine.select(Machine, Seed)
        .join_from(Machine, Seed)
        .join_from(Machine, Replica, JOIN.LEFT_OUTER, on=(Replica.machine == Machine.id))
        .where(Machine.machine_class == class_name, Machine.state == MachineState.READY)
        .order_by(drains.desc(), Seed.promoted, Machine.number)
    )
    found = list(query) if count else []
    return found[: max(0, min(count, len(found) - keep))]


def deadline(machine_class: Class, moment: datetime) -> datetime:
    """Until when a replica that begins to drain now has time."""
    return moment + timedelta(seconds=machine_class.spec["service"]["drain"])
