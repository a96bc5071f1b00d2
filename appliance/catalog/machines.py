"""Queries and changes of machines, leases and requests that more than one place needs, or that must be one statement."""

import itertools
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from peewee import JOIN, SQL, fn

from appliance.catalog import aside, database, listing, memory, policies
from appliance.catalog.database import each, rows, write
from appliance.catalog.grants import Scope
from appliance.catalog.listing import Page, Window
from appliance.catalog.models import (
    Account,
    Class,
    Job,
    JobState,
    Lease,
    Machine,
    MachineState,
    OrgUnit,
    Reading,
    Request,
    RequestState,
    Seed,
    Snapshot,
    now,
    stamp,
)
from appliance.catalog.quotas import Size

LIVE = tuple(state for state in MachineState if state is not MachineState.RETIRED)
ASKED = (RequestState.PENDING, RequestState.WAITING)
HELD = (MachineState.ASSIGNED, MachineState.IN_USE, MachineState.STOPPED, MachineState.SUSPENDED, MachineState.REPROVISIONING)


@dataclass(frozen=True)
class Claimed:
    """The machine that a claim took out of the buffer."""

    id: str
    name: str


def take_machine(class_name: str, account_id: int, ends_at: datetime, request_id: int = memory.LAST_REQUEST) -> Claimed | None:
    """Give the account the class's best ready machine and open its lease; None when the buffer is empty or memory is (see memory.room).

    Newest seed first, then the machine that waited longest; none as long as somebody who asked before waits for the class. Call it
    inside `write()`. The statement is a compare-and-set, and the index lease_live refuses a second owner whatever happens here.
    """
    at = stamp(now())
    taken = rows(
        """
        UPDATE machine SET state = 'assigned', state_since = ?1, owner_id = ?2
        WHERE state = 'ready' AND memory + ?4 <= ?5 AND number = coalesce(
            (SELECT machine.number FROM machine INDEXED BY machine_state CROSS JOIN seed ON seed.id = machine.seed_id AND seed.promoted
             WHERE machine.state = 'ready' AND machine.class_name = ?3 AND machine.id NOT IN (SELECT machine_id FROM job WHERE state = 'running')
             ORDER BY machine.number LIMIT 1),
            (SELECT number FROM machine WHERE state = 'ready' AND class_name = ?3 AND id NOT IN (SELECT machine_id FROM job WHERE state = 'running')
             ORDER BY number LIMIT 1))
          AND NOT EXISTS (SELECT 1 FROM request WHERE state = 'waiting' AND class_name = ?3 AND id < ?6)
        RETURNING id, name
        """,
        (at, account_id, class_name, memory.allowed().overhead, memory.room(request_id), request_id),
    )
    if not taken:
        return None
    claimed = Claimed(*taken[0])
    rows("INSERT INTO lease (machine_id, account_id, began_at, ends_at) VALUES (?, ?, ?, ?)", (claimed.id, account_id, at, stamp(ends_at)))
    keep_door(claimed.id, class_name, account_id)
    return claimed


def keep_door(machine_id: str, class_name: str, account_id: int) -> None:
    """Have a machine that is somebody's from now on stand behind the port that they know from the class's machine before, unless one
    that is held stands there. Browsers keep much by port, and every new one leaves something behind. Call it inside `write()`."""
    states = ", ".join(f"'{state.value}'" for state in (*HELD, MachineState.QUARANTINED))
    number, door, known = rows(
        f"""
        SELECT number, door, (
            SELECT kept_door.door FROM kept_door WHERE account_id = ?2 AND class_name = ?3 AND NOT EXISTS (
                SELECT 1 FROM machine INDEXED BY machine_door
                WHERE machine.door = kept_door.door AND state <> 'retired' AND state IN ({states}) AND machine.id <> ?1)
            ORDER BY used_at DESC LIMIT 1)
        FROM machine WHERE id = ?1
        """,  # noqa: S608 - words of our own
        (machine_id, account_id, class_name),
    )[0]
    if known not in (None, door):
        rows("UPDATE machine SET door = ? WHERE number = ?", (-number, number))  # no two have one, not even for a moment
        rows("UPDATE machine SET door = ? WHERE door = ? AND state <> 'retired'", (door, known))
        rows("UPDATE machine SET door = ? WHERE number = ?", (known, number))
        door = known
    rows(
        "INSERT OR REPLACE INTO kept_door (account_id, class_name, door, used_at) VALUES (?, ?, ?, ?)",
        (account_id, class_name, door, stamp(now())),
    )


def take_machines(class_name: str, account_id: int, ends_at: datetime, count: int, request_id: int = memory.LAST_REQUEST) -> list[Claimed]:
    """The same for as many machines at once: all of them or none. Call it inside `write()`."""
    if count > 1 and not _are_enough(class_name, count, request_id):
        return []
    taken = [take_machine(class_name, account_id, ends_at, request_id) for _ in range(count)]
    claimed = [one for one in taken if one is not None]
    assert len(claimed) in (0, count), "what was counted in this transaction is there"
    return claimed


def _are_enough(class_name: str, count: int, request_id: int) -> bool:
    """Whether so many are ready, and there is memory for the best of them all; it never counts those in vain that `take` chooses."""
    there, needed = rows(
        """
        SELECT count(*), coalesce(sum(memory + ?), 0) FROM (
            SELECT machine.memory FROM machine JOIN seed ON seed.id = machine.seed_id
            WHERE machine.state = 'ready' AND machine.class_name = ? ORDER BY seed.promoted DESC, machine.number LIMIT ?)
        """,
        (memory.allowed().overhead, class_name, count),
    )[0]
    return bool(there == count and needed <= memory.room(request_id))


@dataclass(frozen=True)
class Terms:
    """What a claim has to know of a class."""

    enabled: bool
    per_person: int
    burst: int
    lease_minutes: int
    maximum: int  # at any time of its calendar
    is_service: bool  # its machines are nobody's
    jobs: bool  # its machines work on jobs, and nobody gets one
    size: Size


def terms(class_name: str) -> Terms | None:
    """The terms of a class; None when there is no such class."""
    found = rows(
        """
        SELECT enabled, per_person, burst, lease_minutes, maximum, windows, one_offs, json_extract(spec, '$.service') IS NOT NULL,
               coalesce(json_extract(overrides, '$.jobs'), json_extract(spec, '$.jobs'), 0),
               json_extract(spec, '$.size.vcpus'), json_extract(spec, '$.size.memory'), json_extract(spec, '$.size.disk')
        FROM class WHERE name = ?
        """,
        (class_name,),
    )
    if not found:
        return None
    enabled, per_person, burst, lease_minutes, maximum, windows, one_offs, is_service, jobs, *size = found[0]
    most = policies.most_of(maximum, json.loads(windows), json.loads(one_offs))
    return Terms(bool(enabled), per_person, burst, lease_minutes, most, bool(is_service), bool(jobs), Size(*size))


def note_request(
    account_id: int,
    class_name: str,
    claimed: Claimed | None,
    *,
    pending: bool = False,
    batch_id: int | None = None,
    lease_minutes: int | None = None,
) -> Request:
    """Write down that somebody asked, and what they got; `pending`: something comes before they get it. Call it inside `write()`.

    Of machines that are asked for together each has a row; `batch_id` is the first one's.
    """
    moment = now()
    state, machine_id = (RequestState.GRANTED, claimed.id) if claimed else (RequestState.WAITING, None)
    if pending:
        state = RequestState.PENDING
    at, granted = stamp(moment), stamp(moment) if claimed else None
    id = rows(
        """
        INSERT INTO request (account_id, class_name, state, hit, machine_id, created_at, granted_at, batch_id, lease_minutes)
        VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING id
        """,
        (account_id, class_name, state.value, int(claimed is not None), machine_id, at, granted, batch_id, lease_minutes),
    )[0][0]
    return Request(
        id=id,
        account=account_id,
        machine_class=class_name,
        state=state,
        hit=claimed is not None,
        machine=machine_id,
        created_at=moment,
        granted_at=moment if claimed else None,
        batch=batch_id,
        lease_minutes=lease_minutes,
    )


def bind(first: Request) -> None:
    """Make a request the first of several; call it inside `write()`."""
    first.batch_id = first.id
    Request.update(batch=first.id).where(Request.id == first.id).execute()


def asked_together(first: Request) -> list[Request]:
    """The requests of a batch that have no machine yet, or the one alone, in order."""
    query = Request.select().where(Request.state.in_(ASKED)).order_by(Request.id)
    return list(query.where(Request.batch == first.batch_id) if first.batch_id else query.where(Request.id == first.id))


def together(asked: Request) -> list[Request]:
    """The requests that get their machines with this one or not at all: of its batch, unless some of it have theirs already, as then
    it stands for one machine that has to be replaced."""
    if asked.batch_id is None or Request.select().where(Request.batch == asked.batch_id, Request.state == RequestState.GRANTED).exists():
        return [asked]
    return asked_together(asked)


def change(id: str, expect: Iterable[MachineState], to: MachineState, **values: Any) -> bool:
    """Compare-and-set of a machine's state; False when it was in none of the states in `expect`."""
    states = list(expect)
    places = ", ".join("?" * len(states))
    return database.change(Machine, {"state": to, "state_since": now(), **values}, f"id = ? AND state IN ({places})", (id, *states)) > 0


def end_lease(machine_id: str, reason: str) -> None:
    """End the live lease of a machine, if there is one."""
    Lease.update(ended_at=now(), end_reason=reason).where(Lease.machine == machine_id, Lease.ended_at.is_null()).execute()


def held(account_id: int, class_name: str) -> int:
    """How many machines of the class the account holds or waits for; a class and all that was chosen of it are one."""
    count: int = rows(
        """
        WITH base (name) AS (SELECT coalesce((SELECT base FROM recipe WHERE class_name = ?2), ?2)),
        family (name) AS (SELECT name FROM base UNION SELECT class_name FROM recipe JOIN base ON recipe.base = base.name)
        SELECT (SELECT count(*) FROM lease JOIN machine ON machine.id = lease.machine_id
                WHERE lease.account_id = ?1 AND lease.ended_at IS NULL AND machine.class_name IN family)
             + (SELECT count(*) FROM request WHERE account_id = ?1 AND state IN ('waiting', 'pending') AND class_name IN family)
        """,
        (account_id, class_name),
    )[0][0]
    return count


def next_slots(count: int, slots: int) -> list[int]:
    """Up to `count` free slots, going round: the slot after the last one given out comes first.

    A slot is an address that neighbours remember, so a freed one rests as long as it can. Those of machines that are set aside
    are the last to be given out, and never while such a one runs.
    """
    used = {row[0] for row in rows("SELECT slot FROM machine WHERE state <> 'retired'")} | aside.slots(running=True)
    last = rows("SELECT slot FROM machine ORDER BY number DESC LIMIT 1")
    start = last[0][0] + 1 if last else 0
    resting = aside.slots(running=False)
    ring = [range(start % slots, slots), range(start % slots)] if slots else []
    chosen = (slot for last in (False, True) for part in ring for slot in part if (slot in resting) is last)
    return list(itertools.islice((slot for slot in chosen if slot not in used), count))


def create(machine_class: Class, seed: Seed, id: str, slot: int, snapshot: Snapshot | None = None) -> Machine:
    """A new planned machine, to be forked from the snapshot if there is one; its name is the class's and a number that is never used again."""
    last = rows("SELECT seq FROM sqlite_sequence WHERE name = 'machine'")
    number = (last[0][0] if last else 0) + 1
    size = machine_class.spec["size"]
    return Machine.create(
        number=number,
        id=id,
        name=f"{machine_class.name}-{number}",
        machine_class=machine_class.name,
        seed=seed.id,
        snapshot=snapshot.id if snapshot else None,
        readiness=machine_class.waits,
        slot=slot,
        door=free_door(slot),
        state=MachineState.PLANNED,
        vcpus=size["vcpus"],
        memory=size["memory"],
        memory_room=policies.memory_room(machine_class),
        disk=size["disk"],
    )


def free_door(slot: int) -> int:
    """A port that no machine stands behind: the slot's own, or that of another one whose machine stands behind somebody's kept one.
    There is one, as there are as many ports as slots."""
    found: int = rows(
        """
        SELECT slot FROM (SELECT ?1 AS slot, 0 AS number UNION ALL SELECT slot, number FROM machine WHERE state <> 'retired') AS place
        WHERE NOT EXISTS (SELECT 1 FROM machine INDEXED BY machine_door WHERE machine.door = place.slot AND state <> 'retired')
        ORDER BY number LIMIT 1
        """,
        (slot,),
    )[0][0]
    return found


def by_id(id: str) -> Machine | None:
    """The machine with this id, with its class."""
    return next(iter(_with_classes(database.found(Machine, "id = ?", (id,)))), None)


def _with_classes(found: list[Machine]) -> list[Machine]:
    """The same, each with its class, which is asked for once."""
    names = json.dumps(sorted({one.class_name for one in found}))
    classes = {one.name: one for one in database.found(Class, "name IN (SELECT value FROM json_each(?))", (names,))} if found else {}
    for one in found:
        one.__rel__["machine_class"] = classes[one.class_name]
    return found


def in_slot(slot: int) -> Machine | None:
    """The live machine that has a slot."""
    found: Machine | None = Machine.get_or_none(Machine.slot == slot, Machine.state != MachineState.RETIRED)
    return found


def behind(door: int) -> Machine | None:
    """The live machine behind a port of the front door, counted from the first one, with its class."""
    found: Machine | None = (
        Machine.select(Machine, Class).join(Class).where(Machine.door == door, Machine.state != MachineState.RETIRED).get_or_none()
    )
    return found


def labelled(host_label: str) -> Machine | None:
    """The live machine whose host names begin with this, with its class."""
    found = database.found(Machine, "host_label = ? AND state <> 'retired'", (host_label,))
    return next(iter(_with_classes(found)), None)


REACHED = (*HELD, MachineState.QUARANTINED, MachineState.READY)


def owners_of(ids: Iterable[str], states: Iterable[MachineState] = REACHED) -> dict[str, int | None]:
    """Whose those of these machines are that somebody may have a connection to, by id: held ones, and those of the buffer."""
    return dict(
        rows(
            "SELECT id, owner_id FROM machine WHERE id IN (SELECT value FROM json_each(?)) AND state IN (SELECT value FROM json_each(?))",
            (json.dumps(list(ids)), json.dumps([state.value for state in states])),
        )
    )


def held_by(account_ids: Iterable[int]) -> list[tuple[str, int, int]]:
    """The machines in use that these people hold: id, account and slot."""
    sql = "SELECT id, owner_id, slot FROM machine WHERE state = 'in_use' AND owner_id IN (SELECT value FROM json_each(?)) ORDER BY number"
    return rows(sql, (json.dumps(list(account_ids)),))


def live() -> list[Machine]:
    """Every machine that is not retired."""
    return list(Machine.select().where(Machine.state.in_(LIVE)).order_by(Machine.number))


def have_rates() -> bool:
    """Whether any machine has rates of its own, or any were seen in force for one."""
    return bool(rows("SELECT 1 FROM machine WHERE state <> 'retired' AND (rates <> '{}' OR rates_in_force <> '{}') LIMIT 1"))


def live_ids() -> set[str]:
    """The ids of every machine that is not retired."""
    return {row[0] for row in rows("SELECT id FROM machine WHERE state <> 'retired'")}


def failed() -> list[Machine]:
    """The machines that could not be made or handed over, and are to be thrown away."""
    # A list, not a query: a write begun while a query is half read would be refused (SQLITE_BUSY_SNAPSHOT).
    return list(Machine.select().where(Machine.state == MachineState.FAILED).order_by(Machine.number))


def are_assigned() -> bool:
    """Whether machines wait to be handed to their owners."""
    return bool(rows("SELECT 1 FROM machine WHERE state = 'assigned' LIMIT 1"))


def steady() -> dict[str, set[str]]:
    """Ids of the machines that need nothing as long as they are as they should be, by how that is: running, paused, cold, off.

    A ready one is as its readiness says; one in use runs; one that is stopped or suspended is off.
    """
    found: dict[str, set[str]] = {"running": set(), "paused": set(), "cold": set(), "off": set()}
    sql = """
        SELECT CASE state WHEN 'ready' THEN readiness WHEN 'in_use' THEN 'running' ELSE 'off' END, id
        FROM machine WHERE state <> 'retired' AND state IN ('ready', 'in_use', 'stopped', 'suspended')
    """
    for readiness, id in rows(sql):
        found[readiness].add(id)
    return found


def forked_and_ready() -> set[str]:
    """Ids of the forks in the buffer."""
    return {row[0] for row in rows("SELECT id FROM machine WHERE state = 'ready' AND origin = 'fork'")}


def with_ids(ids: Iterable[str]) -> list[Machine]:
    """These machines, however many."""
    chosen = SQL("(SELECT value FROM json_each(?))", [json.dumps(list(ids))])
    return list(Machine.select().where(Machine.id.in_(chosen)).order_by(Machine.number))


def _at_work() -> Any:
    return Machine.id.in_(Job.select(Job.machine).where(Job.state == JobState.RUNNING, Job.deadline > now()))


def largest(class_name: str, count: int) -> list[Machine]:
    """Ready machines, none that works on a job, that free most memory when they are removed: those that run, then those that were booted; never a cold one."""
    query = (
        Machine.select(Machine, Seed)
        .join(Seed)
        .where(Machine.machine_class == class_name, Machine.state == MachineState.READY, Machine.readiness != "cold", ~_at_work())
        .order_by(Machine.readiness.desc(), Machine.origin, Seed.promoted, Machine.number)
        .limit(count)
    )
    return list(query) if count else []


def dispensable(class_name: str, count: int) -> list[Machine]:
    """Ready machines, none that works on a job, to remove first: those from an old seed, then the oldest."""
    query = (
        Machine.select(Machine, Seed)
        .join(Seed)
        .where(Machine.machine_class == class_name, Machine.state == MachineState.READY, ~_at_work())
        .order_by(Seed.promoted, Machine.number)
        .limit(count)
    )
    return list(query) if count else []


def running_spare(class_name: str) -> Machine | None:
    """A machine of the buffer that runs; None when there is none."""
    found: Machine | None = (
        Machine.select()
        .where(Machine.machine_class == class_name, Machine.state == MachineState.READY, Machine.readiness == "running")
        .order_by(Machine.number)
        .first()
    )
    return found


def counts() -> dict[str, dict[MachineState, int]]:
    """Live machines by class and state."""
    found: dict[str, dict[MachineState, int]] = {}
    for class_name, state, count in rows(
        "SELECT class_name, state, count(*) FROM machine WHERE state <> 'retired' GROUP BY class_name, state"
    ):
        found.setdefault(class_name, {})[MachineState(state)] = count
    return found


def waiting() -> dict[str, int]:
    """Machines that people wait for, by class."""
    return dict(rows("SELECT class_name, count(*) FROM request WHERE state = 'waiting' GROUP BY class_name"))


def on_old_seed() -> dict[str, int]:
    """Ready machines made from another seed than the promoted one, by class; none that works on a job."""
    return dict(
        rows(
            """
            SELECT machine.class_name, count(*) FROM machine JOIN seed ON seed.id = machine.seed_id
            WHERE machine.state <> 'retired' AND machine.state = 'ready' AND seed.promoted = 0
              AND machine.id NOT IN (SELECT machine_id FROM job WHERE state = 'running' AND deadline > ?) GROUP BY machine.class_name
            """,
            (stamp(now()),),
        )
    )


def first_waiting(class_name: str) -> Request | None:
    """The request that has waited longest for a machine of the class."""
    found: Request | None = (
        Request.select().where(Request.machine_class == class_name, Request.state == RequestState.WAITING).order_by(Request.id).first()
    )
    return found


def let_wait(asked: Request) -> None:
    """A request, with all that go with it, waits for its machine from now on; call it inside `write()`."""
    Request.update(state=RequestState.WAITING, hit=False).where(Request.id.in_([one.id for one in together(asked)])).execute()


@dataclass(frozen=True)
class Queue:
    """Those who wait: how many of them, and for how many machines."""

    people: int = 0
    machines: int = 0


def queues() -> dict[str, Queue]:
    """All who wait, by class; several machines asked for at once are one who waits."""
    found = rows(
        "SELECT class_name, count(DISTINCT coalesce(batch_id, id)), count(*) FROM request WHERE state = 'waiting' GROUP BY class_name"
    )
    return {name: Queue(*numbers) for name, *numbers in found}


def ahead(request: Request) -> Queue:
    """Those who have waited longer for the same class."""
    found = rows(
        """
        SELECT count(DISTINCT coalesce(batch_id, id)), count(*) FROM request
        WHERE state = 'waiting' AND class_name = ? AND id < ? AND coalesce(batch_id, 0) <> coalesce(?, -1)
        """,
        (request.class_name, request.id, request.batch_id),
    )
    return Queue(*found[0])


def of_account(account_id: int) -> list[Machine]:
    """The machines that the account holds, with their live lease as `.lease`, and their class."""
    leases = {one.machine_id: one for one in database.found(Lease, "account_id = ? AND ended_at IS NULL", (account_id,))}
    held = json.dumps([*HELD, MachineState.QUARANTINED])
    where = "id IN (SELECT value FROM json_each(?)) AND state IN (SELECT value FROM json_each(?)) ORDER BY number"
    mine = database.found(Machine, where, (json.dumps(list(leases)), held))
    for one in mine:
        one.lease = leases[one.id]  # type: ignore[attr-defined]
    return _with_classes(mine)


def batches(account_id: int) -> dict[str, int]:
    """Which machines of the account came together: the batch by the machine's id."""
    return dict(
        rows(
            "SELECT machine_id, batch_id FROM request WHERE account_id = ? AND state = 'granted' AND batch_id IS NOT NULL",
            (account_id,),
        )
    )


def lease_of(machine_id: str) -> Lease | None:
    """The live lease of a machine."""
    return next(iter(database.found(Lease, "machine_id = ? AND ended_at IS NULL", (machine_id,))), None)


# What machines can be sorted by. What nobody holds has no end of a lease, which is after all others.
SORTS: dict[str, Any] = {
    "created": Machine.number,
    "machine": fn.PRINTF("%s-%012d", Machine.machine_class, Machine.number),
    "state": Machine.state,
    "class": Machine.machine_class,
    "owner": listing.OWNER,
    "unit": listing.text_of(OrgUnit.name),
    "address": Machine.slot,
    "left": fn.COALESCE(Lease.ends_at, "9999"),
    "load": fn.COALESCE(Reading.cpu, -1),
    "memory": fn.COALESCE(Reading.memory_used, -1),
    "since": Machine.state_since,
}
NEWEST = Window("created", descending=True)


def list_machines(
    window: Window = NEWEST,
    reach: Scope = Scope(everything=True),  # noqa: B008 - immutable
    ids: Iterable[str] | None = None,
    *,
    state: MachineState | None = None,
    class_name: str = "",
    text: str = "",
    retired: bool = False,
) -> Page[Machine]:
    """Machines within reach, with owner, the owner's org unit, live lease and reading joined (None where there is none).

    `ids` are all that come into question. They are counted when nothing else is asked than all that live.
    """
    query = (
        Machine.select(Machine, Account, OrgUnit, Lease, Reading)
        .join_from(Machine, Account, JOIN.LEFT_OUTER)
        .join_from(Account, OrgUnit, JOIN.LEFT_OUTER)
        .join_from(Machine, Lease, JOIN.LEFT_OUTER, on=((Lease.machine == Machine.id) & Lease.ended_at.is_null()), attr="lease")
        .join_from(Machine, Reading, JOIN.LEFT_OUTER, on=(Reading.machine == Machine.id), attr="reading")
    )
    alive = None if retired else Machine.state != MachineState.RETIRED
    query = listing.narrowed(
        query,
        Machine.state == state if state is not None else alive,
        Machine.machine_class == class_name if class_name else None,
        listing.has(text, Machine.name, Account.name, Account.full_name),
        Machine.id.in_(list(ids)) if ids is not None else None,
        listing.within(reach, Machine.machine_class, Account.org_unit),
    )
    found = listing.page(query, Machine.number, SORTS, window)
    is_all = reach.everything and ids is None and not (state or class_name or text or retired)
    return replace(found, total=sum(state_counts(reach).values())) if is_all else found


def state_counts(reach: Scope) -> dict[MachineState, int]:
    """Live machines within reach by state, of all classes together."""
    if reach.everything:
        found = rows("SELECT state, count(*) FROM machine WHERE state <> 'retired' GROUP BY state")
    else:
        query = Machine.select(Machine.state, fn.COUNT(Machine.number)).join(Account, JOIN.LEFT_OUTER).group_by(Machine.state)
        theirs = listing.within(reach, Machine.machine_class, Account.org_unit)
        found = rows(*query.where(Machine.state != MachineState.RETIRED, theirs).sql())
    return {MachineState(state): count for state, count in found}


def in_making() -> list[Machine]:
    """Machines in creation, oldest first."""
    return list(Machine.select().where(Machine.state.in_([MachineState.PLANNED, MachineState.CREATING])).order_by(Machine.number))


def making_times(class_name: str, limit: int = 20) -> list[timedelta]:
    """How long the class's latest machines took from planned to ready, newest first: only those that were made as the newest
    was, forked or booted, since the one is many times quicker than the other."""
    query = (
        Machine.select(Machine.created_at, Machine.ready_at, Machine.origin)
        .where(Machine.machine_class == class_name, Machine.ready_at.is_null(False))
        .order_by(Machine.number.desc())
        .limit(limit)
    )
    latest = list(query)
    return [machine.ready_at - machine.created_at for machine in latest if machine.origin == latest[0].origin]


def creation_times(class_name: str, limit: int = 20) -> list[timedelta]:
    """The same from the moment at which making each began, without its waiting for others to be made."""
    found = rows(
        """
        SELECT machine.origin, ready.at,
               (SELECT max(begun.at) FROM event AS begun
                WHERE begun.machine_id = machine.id AND begun.kind = 'machine.creating' AND begun.id < ready.id)
        FROM machine JOIN event AS ready ON ready.machine_id = machine.id AND ready.kind = 'machine.ready'
        WHERE machine.class_name = ? ORDER BY machine.number DESC, ready.id LIMIT ?
        """,
        (class_name, limit),
    )
    return [
        datetime.fromisoformat(ready) - datetime.fromisoformat(begun) for origin, ready, begun in found if begun and origin == found[0][0]
    ]


def held_by_account() -> dict[int, int]:
    """How many machines each account holds; accounts without any are not in it."""
    return dict(rows("SELECT account_id, count(*) FROM lease WHERE ended_at IS NULL GROUP BY account_id"))


def note_readings(found: Mapping[str, Mapping[str, Any]]) -> None:
    """Keep the machines' last readings, by their ids."""
    at = stamp(now())
    with write():
        each(
            """
            INSERT OR REPLACE INTO reading (machine_id, at, cpu, memory_used, memory_private, memory_shared, disk_rate, net_rate)
            VALUES (:machine_id, :at, :cpu, :memory_used, :memory_private, :memory_shared, :disk_rate, :net_rate)
            """,
            ({"machine_id": id, "at": at, **reading} for id, reading in found.items()),
        )


def reading_of(machine_id: str) -> Reading | None:
    """The last reading of a machine's load."""
    found: Reading | None = Reading.get_or_none(Reading.machine == machine_id)
    return found
