"""The one function that changes a machine's state, as the master workflow allows; see ../workflow/master.py."""

from typing import Any

from appliance.catalog import ENGINE, Actor, EventKind, Level, MachineState, machines, record, runs, write
from appliance.errors import Conflict
from appliance.workflow import start
from appliance.workflow.master import master


def sources(to: MachineState) -> frozenset[MachineState]:
    """The states from which a machine may move to `to`."""
    return master().sources[to]


def move(
    id: str,
    to: MachineState,
    message: str,
    actor: Actor = ENGINE,
    *,
    expect: frozenset[MachineState] | None = None,
    level: Level | None = None,
    data: dict[str, Any] | None = None,
    **values: Any,
) -> None:
    """Move a machine to a state, and write the event, in one transaction.

    `values` are further columns to set with it. Raises Conflict, changing nothing, when the machine is
    not in a state (of `expect`, or any) from which the move is allowed. What is to be reclaimed gets the run
    that does it; whatever else was going on with it ends.
    """
    allowed = sources(to) if expect is None else sources(to) & expect
    with write():
        if not machines.change(id, allowed, to, step="", **values):
            machine = machines.by_id(id)
            where = "gone" if machine is None else machine.state.value
            raise Conflict(f"The machine is {where}, so it cannot become {to.value} now.", "Reload the page to see where it stands.")
        machine = machines.by_id(id)
        assert machine is not None
        record(EventKind(f"machine.{to}"), message, actor, level=level, class_name=machine.class_name, machine_id=id, **(data or {}))
        if to is MachineState.RECLAIMING:
            runs.cancel(machine_id=id)
            start.begin_run("reclaim", machine, actor, bare=machine.owner_id is None, why=machine.reclaim_reason)
