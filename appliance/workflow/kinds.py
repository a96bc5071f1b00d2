"""The kinds of activity: what each does, who does it, and the schema of its options. Forms, validation and documentation come from here.

What a kind does is a performer (see runner.py); the two are apart so that the web page knows the one without the other.
Another package adds a kind through an entry point of the group `dpe.activities`, an object with `kind` and `performer`.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from importlib.metadata import entry_points
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from appliance.people.roles import ROLES
from appliance.yamlfile import Part

Duration = Annotated[str, StringConstraints(pattern=r"^[1-9][0-9]{0,5}(s|m|h|d)$")]
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def duration(text: str) -> timedelta:
    """The length of a duration such as 90s, 15m, 24h or 7d."""
    number, unit = int(text[:-1]), text[-1]
    return timedelta(**{_UNITS[unit]: number})


class Options(Part):
    """What an activity is told; each kind has its own."""


@dataclass(frozen=True)
class Kind:
    """A kind of activity. `moves`: where it can be used, as (move, before|after); None is everywhere.

    One that is `core` belongs to a move and cannot be put anywhere. `tries` is how often it is tried, unless
    an activity says otherwise; 0 is for ever.
    """

    name: str
    title: str
    about: str
    options: type[Options] = Options
    by: Literal["software", "person"] = "software"
    moves: frozenset[tuple[str, str]] | None = None
    core: bool = False
    tries: int = 3
    title_now: str = ""  # what is being done, for the person who waits


# Moves before which, or after which, the machine runs and answers.
UP = frozenset(
    {("assign", "after"), ("stop", "before"), ("suspend", "before"), ("start", "after"), ("resume", "after"), ("transfer", "before")}
    | {("transfer", "after"), ("reprovision", "before"), ("reprovision", "after"), ("reclaim", "before"), ("recover", "after")}
)


class Approval(Options):
    """A person's yes or no."""

    role: Literal["approver", "operator", "class_manager", "delegated_admin", "owner"] = Field(
        default="approver", description="Who may say it: whoever holds this role over the person who asks, or over the class."
    )
    account: str = Field(default="", max_length=100, description="Or one person: the name of their account.")
    text: str = Field(default="", max_length=2000, description="What they should know to decide.")
    escalate: Duration | None = Field(default=None, description="After this time, whoever holds the role below is asked as well.")
    escalate_to: Literal["delegated_admin", "owner"] = Field(default="owner", description="The role that is asked then.")
    expires: Duration = Field(default="7d", description="After this time it counts as a no.")


class Task(Options):
    """Something that a person does by hand, and says when it is done."""

    role: Literal["approver", "operator", "class_manager", "delegated_admin", "owner"] = Field(
        default="operator", description="Who does it: whoever holds this role over the person who asks, or over the class."
    )
    account: str = Field(default="", max_length=100, description="Or one person: the name of their account.")
    text: str = Field(min_length=1, max_length=2000, description="What is to be done.")
    escalate: Duration | None = Field(default=None, description="After this time, whoever holds the role below is asked as well.")
    escalate_to: Literal["delegated_admin", "owner"] = Field(default="owner", description="The role that is asked then.")
    expires: Duration | None = Field(default=None, description="After this time it counts as not done; without it, it waits.")


class Pause(Options):
    """Nothing but time."""

    time: Duration = Field(description="How long.")


CORE = (
    Kind("make", "Make the machine", "Forks it from its seed's snapshot, or boots it.", core=True, tries=1, title_now="being made"),
    Kind("claim", "Find a machine", "Takes a ready machine, or waits for one.", core=True, tries=0, title_now="waiting for a machine"),
    Kind("hand_over", "Hand it over", "Wakes the machine and puts its owner's name and keys into it.", core=True, tries=4),
    Kind("destroy", "Take it away", "Removes the machine with its system disk.", core=True, tries=0),
)
PEOPLE = (
    Kind("approval", "Approval", "Asks a person to say yes or no; a no ends the run.", Approval, by="person", tries=1),
    Kind("task", "Task", "Asks a person to do something by hand, and waits until they say that it is done.", Task, by="person", tries=1),
)
OTHERS = (Kind("wait", "Wait", "Lets some time pass.", Pause, tries=1),)

_KNOWN: dict[str, Kind] = {}


def register(kinds: Iterable[Kind]) -> None:
    """Add kinds to the catalogue. Raises ValueError for a name that is taken by another, or cannot be one."""
    for kind in kinds:
        if not re.fullmatch(r"[a-z][a-z0-9_]{0,30}", kind.name) or _KNOWN.get(kind.name, kind) != kind:
            raise ValueError(f"a kind of activity cannot be named {kind.name!r}, or there is another of that name")
        _KNOWN[kind.name] = kind


@cache
def _from_entry_points() -> tuple[Any, ...]:
    found = tuple(point.load() for point in entry_points(group="dpe.activities"))
    register(one.kind for one in found)
    return found


def plugins() -> tuple[Any, ...]:
    """What other packages brought: objects with `kind` and `performer`."""
    return _from_entry_points()


def known() -> Mapping[str, Kind]:
    """Every kind by its name."""
    _from_entry_points()
    return _KNOWN


register(CORE + PEOPLE + OTHERS)
assert {"approver", "operator", "class_manager", "delegated_admin", "owner"} < set(ROLES)
