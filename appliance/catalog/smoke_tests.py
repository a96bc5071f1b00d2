"""A machine made only to see whether one can be: asked of the engine after an update, and its answer."""

from appliance.catalog import options
from appliance.catalog.database import write
from appliance.catalog.models import Class, Machine, MachineState, Seed

MADE = (MachineState.READY, MachineState.ASSIGNED, MachineState.IN_USE, MachineState.STOPPED, MachineState.SUSPENDED)


def makes() -> bool:
    """Whether the appliance makes machines: it is set up, and there are some that came to be."""
    return bool(options.get("setup_done")) and Machine.select().where(Machine.state.in_(MADE)).exists()


def seed() -> Seed | None:
    """The seed to try: one that is promoted, of a class that is offered; the class that needs least memory."""
    found: list[Seed] = list(Seed.select(Seed, Class).join(Class).where(Seed.promoted == True, Class.enabled == True))  # noqa: E712
    return min(found, key=lambda one: (one.machine_class.spec["size"]["memory"], one.machine_class.name), default=None)


def ask_for_test(id: str) -> None:
    """Have the engine make one, in answer to the question of this id."""
    with write():
        options.put("proof", {"id": id})


def asked() -> str | None:
    """The question that the engine has yet to answer."""
    found = options.get("proof")
    return found["id"] if found and "problem" not in found else None


def note_outcome(id: str, problem: str) -> None:
    """Answer: what went wrong; empty when the machine came to be and answered."""
    with write():
        if options.get("proof").get("id") == id:
            options.put("proof", {"id": id, "problem": problem})


def answer(id: str) -> str | None:
    """What `say` said to the question; None while it did not."""
    found = options.get("proof")
    problem: str | None = found.get("problem") if found.get("id") == id else None
    return problem


def forget() -> None:
    """Nobody asks any more."""
    with write():
        options.put("proof", {})
