"""A machine changes its state as the master workflow allows (tests/unit/workflow/test_master.py), in one transaction."""

import pytest

from appliance import catalog
from appliance.catalog import Event, Machine, MachineState, machines
from appliance.errors import Conflict
from appliance.lifecycle import master


@pytest.mark.parametrize("origin", MachineState)
@pytest.mark.parametrize("to", MachineState)
def test_a_move_happens_exactly_when_it_is_allowed(ready, origin, to):
    [machine] = ready(1)
    Machine.update(state=origin).where(Machine.id == machine.id).execute()
    before = Event.select().count()
    if origin in master.sources(to):
        master.move(machine.id, to, "moved")
        assert machines.by_id(machine.id).state is to
        assert Event.select().order_by(Event.id.desc()).get().kind == f"machine.{to}"
    else:
        with pytest.raises(Conflict, match=f"The machine is {origin}"):
            master.move(machine.id, to, "moved")
        assert machines.by_id(machine.id).state is origin
        assert Event.select().count() == before


def test_no_event_without_its_move_and_no_move_without_its_event(ready, monkeypatch):
    [machine] = ready(1)

    def broken(*_args, **_kwargs):
        raise OSError("the disk is full")

    monkeypatch.setattr(master, "record", broken)
    with pytest.raises(OSError, match="full"):
        master.move(machine.id, MachineState.RECLAIMING, "moved")
    assert machines.by_id(machine.id).state is MachineState.READY
    catalog.close()
