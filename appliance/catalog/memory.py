"""Memory: what people hold and may still be given, and what was measured. All sizes are MiB."""

import json
from dataclasses import asdict, dataclass
from datetime import timedelta
from enum import StrEnum

from appliance.catalog import options
from appliance.catalog.database import rows
from appliance.catalog.models import Machine, MachineState, Run, now, stamp

KEPT = timedelta(hours=24)  # the last readings of machines that do not run
LAST_REQUEST = 2**63 - 1
NO_LIMIT = 2**62


@dataclass(frozen=True)
class Allowed:
    """How much people may hold, as the engine last said: now, and at `most`, when nothing else uses the host.

    overhead: what the hypervisor needs for a machine beside its memory.
    """

    limit: int = NO_LIMIT
    most: int = NO_LIMIT
    overhead: int = 64


def allowed() -> Allowed:
    """How much people may hold; no limit before the engine ever told one."""
    found = rows("SELECT value FROM option WHERE name = 'memory'")
    return Allowed(**json.loads(found[0][0])) if found else Allowed()


def allow(found: Allowed) -> None:
    """Say how much people may hold; call it inside `write()`."""
    options.put("memory", asdict(found))


class Kind(StrEnum):
    """How a machine takes memory."""

    HELD = "held"
    MAKING = "making"
    RUNNING = "running"  # in the buffer, as the following ones
    BOOTED = "booted"  # paused, and not forked
    FORK = "fork"  # paused, and forked
    COLD = "cold"
    OFF = "off"  # somebody's, stopped or suspended: it takes none
    FAILED = "failed"
    LEAVING = "leaving"


# Whether a stopped or suspended machine takes none: one that is being switched on has its memory from the moment it was asked for.
_OFF = """machine.state IN ('stopped', 'suspended') AND NOT EXISTS (
    SELECT 1 FROM run WHERE run.machine_id = machine.id AND run.ended_at IS NULL
    AND run.kind IN ('start', 'resume', 'reprovision', iif(machine.state = 'suspended', 'stop', '')))"""


@dataclass(frozen=True)
class Part:
    """Machines of a class that take memory in one way: how many, their processors, and all that they may grow to.

    `private` and `shared` are the sums of what `measured` of them take now.
    """

    class_name: str
    kind: Kind
    count: int
    vcpus: int
    nominal: int
    measured: int
    private: int
    shared: int

    @property
    def mean(self) -> float:
        """What one of them takes; 0 when none was measured."""
        return (self.private + self.shared) / self.measured if self.measured else 0.0


def parts() -> list[Part]:
    """All live machines, by class and kind."""
    found = rows(
        f"""
        SELECT class_name, CASE
            WHEN state IN ('planned', 'creating') THEN 'making'
            WHEN state = 'failed' THEN 'failed'
            WHEN state = 'reclaiming' THEN 'leaving'
            WHEN {_OFF} THEN 'off'
            WHEN state <> 'ready' THEN 'held'
            WHEN readiness <> 'paused' THEN readiness
            ELSE iif(origin = 'fork', 'fork', 'booted') END AS kind,
            count(*), sum(vcpus), sum(memory + ?), count(reading.machine_id), coalesce(sum(memory_private), 0), coalesce(sum(memory_shared), 0)
        FROM machine INDEXED BY machine_live LEFT JOIN reading ON reading.machine_id = machine.id AND memory_private > 0
        WHERE state <> 'retired' GROUP BY class_name, kind
        """,  # noqa: S608 - a constant
        (allowed().overhead,),
    )
    return [Part(class_name, Kind(kind), *numbers) for class_name, kind, *numbers in found]


def room(before: int = LAST_REQUEST) -> int:
    """How much may still be given to who asks now, or to request number `before`; negative when more is held than may be.

    Those who have waited longer, and only for memory, have theirs set aside: a small machine never slips past somebody who waits for a
    large one. Who asks for more than there is, with all that they ask for together, holds up nobody.
    """
    now_allowed = allowed()
    taken: int = rows(
        f"""
        SELECT (SELECT coalesce(sum(memory + ?1), 0) FROM machine WHERE state <> 'retired'
               AND state IN ('assigned', 'in_use', 'stopped', 'suspended', 'reprovisioning', 'quarantined') AND NOT ({_OFF}))
            + (SELECT coalesce(sum(asked), 0) FROM (
                SELECT sum(json_extract(class.spec, '$.size.memory') + ?1) AS asked
                FROM request INDEXED BY request_waiting JOIN class ON class.name = request.class_name
                WHERE request.state = 'waiting' AND request.id < ?2 AND (short_of_memory OR EXISTS (
                    SELECT 1 FROM machine WHERE state <> 'retired' AND state = 'ready' AND machine.class_name = request.class_name))
                GROUP BY coalesce(batch_id, request.id))
               WHERE asked <= ?3)
        """,  # noqa: S608 - a constant
        (now_allowed.overhead, before, now_allowed.limit),
    )[0][0]
    return now_allowed.limit - taken


def forget_readings() -> None:
    """Drop the last readings of machines that have not run for a day; call it inside `write()`."""
    rows("DELETE FROM reading WHERE at < ?", (stamp(now() - KEPT),))


# -- by need ----------------------------------------------------------------------------------


def growing() -> list[Machine]:
    """Those of them that should be running, with nothing under way that the appliance does to them."""
    query = Machine.select().where(
        Machine.memory_room > 0,
        (Machine.state == MachineState.IN_USE) | ((Machine.state == MachineState.READY) & (Machine.readiness == "running")),
        Machine.id.not_in(Run.select(Run.machine).where(Run.ended_at.is_null(), Run.machine.is_null(False))),
    )
    return list(query.order_by(Machine.number))


def start_anew() -> list[str]:
    """Ids of machines that count as having been given memory, and do not run: they will start with what they start with."""
    return [row[0] for row in rows("SELECT id FROM machine WHERE memory_more > 0 AND state IN ('stopped', 'reprovisioning', 'failed')")]


def note_given(id: str, more: int) -> None:
    """A machine counts as having so much beside what it starts with; call it inside `write()`."""
    rows("UPDATE machine SET memory = memory + ?2 - memory_more, memory_more = ?2 WHERE id = ?1 AND memory_more <> ?2", (id, more))
