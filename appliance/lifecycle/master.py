"""The master workflow: the moves a machine's state may make, and the one function that makes them."""

from typing import Any

from appliance.catalog import ENGINE, Actor, Level, MachineState, machines, record, write
from appliance.errors import Conflict

S = MachineState

MOVES: dict[MachineState, frozenset[MachineState]] = {
    S.PLANNED: frozenset({S.CREATING, S.RECLAIMING}),
    S.CREATING: frozenset({S.READY, S.FAILED, S.RECLAIMING}),
    S.READY: frozenset({S.ASSIGNED, S.FAILED, S.RECLAIMING}),
    S.ASSIGNED: frozenset({S.IN_USE, S.FAILED, S.RECLAIMING, S.QUARANTINED}),
    S.IN_USE: frozenset({S.STOPPED, S.SUSPENDED, S.REPROVISIONING, S.RECLAIMING, S.QUARANTINED}),
    S.STOPPED: frozenset({S.IN_USE, S.REPROVISIONING, S.RECLAIMING, S.QUARANTINED}),
    S.SUSPENDED: frozenset({S.IN_USE, S.STOPPED, S.RECLAIMING, S.QUARANTINED}),
    S.REPROVISIONING: frozenset({S.IN_USE, S.RECLAIMING, S.QUARANTINED}),
    S.FAILED: frozenset({S.RECLAIMING}),
    S.QUARANTINED: frozenset({S.IN_USE, S.RECLAIMING}),
    S.RECLAIMING: frozenset({S.RETIRED}),
    S.RETIRED: frozenset(),
}


def sources(to: MachineState) -> frozenset[MachineState]:
    """The states from which a machine may move to `to`."""
    return frozenset(state for state, targets in MOVES.items() if to in targets)


def move(
    id: str,
    to: MachineState,
    message: str,
    actor: Actor = ENGINE,
    *,
    expect: frozenset[MachineState] | None = None,
    level: Level = Level.INFO,
    data: dict[str, Any] | None = None,
    **values: Any,
) -> None:
    """Move a machine to a state, and write the event, in one transaction.

    `values` are further columns to set with it. Raises Conflict, changing nothing, when the machine is
    not in a state (of `expect`, or any) from which the move is allowed.
    """
    allowed = sources(to) if expect is None else sources(to) & expect
    with write():
        if not machines.change(id, allowed, to, step="", **values):
            machine = machines.by_id(id)
            where = "gone" if machine is None else machine.state.value
            raise Conflict(f"The machine is {where}, so it cannot become {to.value} now.", "Reload the page to see where it stands.")
        machine = machines.by_id(id)
        assert machine is not None
        record(f"machine.{to.value}", message, actor, level=level, class_name=machine.class_name, machine_id=id, **(data or {}))
