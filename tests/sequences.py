"""Sequences as tests of their pages meet them: one in use with a draft, one that is only a draft."""

from appliance import catalog
from appliance.catalog import Actor, Class, Sequence, VersionState
from appliance.catalog import sequences as rows
from appliance.services import sequences
from appliance.services.sequences import Spot
from appliance.workflow import sequence

OFFICE = {
    "assign": {
        "before": [
            {
                "name": "manager",
                "kind": "approval",
                "title": "A manager says yes",
                "when": {"memory": {"above": 2048}, "classes": ["studio"]},
                "with": {"text": "Is it needed for this long?", "expires": "72h", "escalate": "24h"},
            },
        ],
        "after": [{"name": "desk", "kind": "task", "with": {"text": "Write the machine into the inventory."}, "on_failure": "go_on"}],
    },
    "reclaim": {"before": [{"name": "grace", "kind": "wait", "title": "A last chance", "with": {"time": "15m"}, "retry": {"tries": 2}}]},
}


def body(moves: object) -> str:
    """As the catalog keeps it."""
    assert isinstance(moves, dict)
    return sequence.dump({name: sequence.Around.model_validate(around) for name, around in moves.items()})


def shipped(name: str = "office", moves: object = OFFICE) -> None:
    """A sequence that came with the appliance, and is promoted."""
    with catalog.write():
        Sequence.insert(name=name, title=name.title(), about="For people who sit at desks.", shipped="digest").execute()
        rows.add(name, body(moves), VersionState.PROMOTED, comment="As shipped")


def fill(actor: Actor) -> None:
    """`office`, followed by every class, with a draft of `actor`; and `night`, which is only a draft."""
    shipped()
    with catalog.write():
        Class.update(sequence="office").execute()
    look = sequences.view_sequence("office")
    added = {"name": "pause", "kind": "wait", "with": {"time": "30s"}}
    sequences.put_sequence(actor, "office", look.stamp, Spot("stop", "before", -1), added, new=True)
    sequences.remove(actor, "office", sequences.view_sequence("office").stamp, Spot("reclaim", "before", 0))
    sequences.create(actor, "night", "Night shift", "What happens when nobody is there.")
