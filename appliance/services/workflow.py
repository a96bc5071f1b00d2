"""The master workflow, and how many machines are where in it."""

from collections import Counter
from collections.abc import Container

from appliance.catalog import MachineState, machines
from appliance.workflow.master import Master, Move, State, master

__all__ = ["MachineState", "Master", "Move", "State", "counts", "master"]


def counts(class_names: Container[str]) -> Counter[MachineState]:
    """Live machines of these classes by state."""
    found: Counter[MachineState] = Counter()
    for name, states in machines.counts().items():
        if name in class_names:
            found.update(states)
    return found
