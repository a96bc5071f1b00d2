"""Sequences: what is done before and after each move of a machine's life, as data; and from that, the steps of a run."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints, ValidationError

from appliance.backoff import doubled
from appliance.errors import BadInput
from appliance.workflow import kinds, master
from appliance.workflow.conditions import When
from appliance.workflow.kinds import Duration, Kind, Options, duration
from appliance.yamlfile import Part

Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_-]{0,40}$")]

MOST = 50  # activities before, and after, a move


class Retry(Part):
    """How often an activity that fails is tried, and how long it waits in between: doubling."""

    tries: int = Field(default=3, ge=1, le=100, description="Times in all.")
    wait: Duration = Field(default="5s", description="Before the second.")
    longest: Duration = Field(default="5m", description="The wait doubles up to this.")

    def pause(self, failures: int) -> timedelta:
        """The wait after so many failures, 1 at least."""
        return doubled(duration(self.wait), failures - 1, duration(self.longest))


class Activity(Part):
    """One step before or after a move. Whether its kind is known and its options fit, `load` checks: what is known can change later."""

    name: Name = Field(description="Short name, once in the sequence: the step is known by it.")
    kind: str = Field(description="What sort of activity it is.")
    title: str = Field(default="", max_length=80, description="What people read; else the kind's.")
    when: When = Field(default=When(), description="Conditions; without any, it is always done.")
    with_: dict[str, Any] = Field(default={}, alias="with", description="What the kind needs to know.")
    retry: Retry | None = Field(default=None, description="How often it is tried.")
    on_failure: Literal["stop", "go_on"] = Field(
        default="stop", description="stop: the run ends and what it did is undone; go_on: the failure is noted, and the next step follows."
    )


class Around(Part):
    """What is done before and after one move."""

    before: list[Activity] = Field(default=[], max_length=MOST, description="Done before the machine moves.")
    after: list[Activity] = Field(default=[], max_length=MOST, description="Done once it has.")


class Sequence(Part):
    """One named set of activities."""

    name: Name = Field(description="Short name; the file has the same.")
    title: str = Field(min_length=1, max_length=60, description="What admins read.")
    description: str = Field(default="", max_length=1000, description="What it is good for.")
    moves: dict[str, Around] = Field(default={}, description="Activities by the name of the move that they are around.")


@dataclass(frozen=True)
class PlannedStep:
    """One step of a run as it is planned: its activity with its options read."""

    number: int
    name: str
    kind: Kind
    title: str
    options: Options
    when: When
    retry: Retry
    tries: int  # 0 is for ever
    goes_on: bool
    part: Literal["before", "core", "after"]


@lru_cache(maxsize=256)
def moves(body: str) -> Mapping[str, Around]:
    """The moves of a version, from its stored body. Raises BadInput when it cannot be understood any more."""
    try:
        return {name: Around.model_validate(around) for name, around in json.loads(body).items()} if body else {}
    except ValidationError as error:
        raise BadInput("The sequence cannot be understood any more.", "Correct and promote it anew.") from error


def dump(found: Mapping[str, Around]) -> str:
    """The body that `moves` reads: JSON, moves and keys in one order, nothing that is as it would be anyhow."""
    plain = {name: around.model_dump(mode="json", by_alias=True, exclude_defaults=True) for name, around in found.items()}
    return json.dumps({name: around for name, around in plain.items() if around}, sort_keys=True, separators=(",", ":"))


@lru_cache(maxsize=1024)
def planned_steps(kind: str, body: str, *, bare: bool = False) -> tuple[PlannedStep, ...]:
    """The steps of a run of this kind: what comes before the move, what belongs to it, what comes after.

    A `bare` one has only what belongs to the move: nobody ever held the machine. Raises BadInput when a kind of activity is gone.
    """
    around = Around() if bare else moves(body).get(kind, Around())
    found: list[PlannedStep] = []
    for activity in around.before:
        found.append(_planned_step(len(found), activity, "before"))
    for name in master.core(kind):
        core = kinds.known()[name]
        found.append(PlannedStep(len(found), name, core, core.title, Options(), When(), Retry(), core.tries, False, "core"))
    for activity in around.after:
        found.append(_planned_step(len(found), activity, "after"))
    return tuple(found)


def _planned_step(number: int, activity: Activity, part: Literal["before", "after"]) -> PlannedStep:
    kind = kinds.known().get(activity.kind)
    if kind is None:
        raise BadInput(
            f"There is no kind of activity {activity.kind} any more.", "Install what brought it, or take it out of the sequence."
        )
    try:
        options = kind.options.model_validate(activity.with_)
    except ValidationError as error:
        raise BadInput(f"{activity.name}: its options no longer fit.", str(error.errors()[0]["msg"])) from error
    retry = activity.retry or Retry()
    tries = activity.retry.tries if activity.retry else kind.tries
    goes_on = activity.on_failure == "go_on"
    return PlannedStep(number, activity.name, kind, activity.title or kind.title, options, activity.when, retry, tries, goes_on, part)


def core_at(kind: str, body: str, name: str) -> int:
    """The number of a core step among the planned steps of a run."""
    return len(moves(body).get(kind, Around()).before) + master.core(kind).index(name)
