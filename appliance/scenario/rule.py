"""Policy by load: rules that make pools larger and smaller by a metric. The names here are those of scenario.yml, the forms, the API and the catalog.

What a rule says at a moment is decided by `appliance.pools.rules`.
"""

import math
from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Annotated, Literal, NamedTuple

from pydantic import Field, model_validator

from appliance.scenario.calendar import MANY
from appliance.yamlfile import Part

RULES = 20  # that a class may have
PROJECTED = 1000  # machines up to which a rule is looked through for flapping

Number = Literal["minimum", "buffer"]
Statistic = Literal["mean", "most", "least", "last"]
Of = Literal["class", "sent", "command", "machines"]


class Rule(Part):
    """Makes a number of the policy follow a metric: by steps above and below thresholds, or one machine for each so many.

    Where several rules of a class say the same number, more wins over less, and less needs all of them.
    """

    name: str = Field(min_length=1, max_length=60, description="What it is called, on the page and in the events of its decisions.")
    sets: Number = Field(
        default="minimum", description="The number of the policy that it raises above what policy and calendar say: `minimum` or `buffer`."
    )
    of: Of = Field(
        default="class",
        description="Whose metric: `class`: a figure of the class (its charts); `sent`: what was sent for the class through the API; "
        "`command`: what a command prints, "
        "`machines`: what the applications of its machines send, as the mean of them.",
    )
    metric: str = Field(
        pattern=r"^[a-z][a-z0-9_.-]{0,39}$",
        description="The name of the figure, like `cpu` (0 to 1), `queue` or `jobs`, or of what is sent.",
    )
    command: Annotated[tuple[str, ...], Field(strict=False, max_length=100)] = Field(
        default=(),
        description="With `of: command`: run every half a minute in a machine of the buffer that runs, as its user; it prints a number.",
    )
    statistic: Statistic = Field(default="mean", description="What is made of its values: `mean`, `most`, `least`, or the `last` one.")
    minutes: int = Field(default=5, ge=1, le=1440, description="Over the last so many minutes.")
    above: float | None = Field(default=None, ge=0, le=1e15, description="At this value or above, machines are added.")
    below: float | None = Field(default=None, ge=0, le=1e15, description="At this value or below, machines are removed.")
    up: int = Field(default=1, ge=1, le=MANY, description="How many are added at a time.")
    down: int = Field(default=1, ge=1, le=MANY, description="How many are removed at a time.")
    unit: Literal["machines", "percent"] = Field(
        default="machines", description="Whether steps are machines, or percent of those that there are."
    )
    each: float | None = Field(
        default=None, gt=0, le=1e15, description="In place of thresholds and steps: one machine for each so many, like a queue's jobs."
    )
    cooldown_up: int = Field(default=60, ge=0, le=86400, description="Seconds after a change before machines are added.")
    cooldown_down: int = Field(default=300, ge=0, le=86400, description="Seconds after a change before machines are removed.")
    least: int = Field(default=0, ge=0, le=MANY, description="It never says less.")
    most: int = Field(default=10, ge=0, le=MANY, description="It never says more.")

    @property
    def key(self) -> str:
        """What it is told apart by, in its class."""
        return self.name

    @property
    def is_per_machine(self) -> bool:
        """Whether its metric is the mean of machines, and so falls when there are more of them."""
        return self.of == "machines" or (self.of == "class" and self.metric == "cpu")

    @property
    def removes(self) -> bool:
        """Whether it ever asks for less."""
        return self.each is not None or self.below is not None

    def step_up(self, machines: int) -> int:
        """How many are added to so many."""
        return self.up if self.unit == "machines" else max(1, math.ceil(machines * self.up / 100))

    def step_down(self, machines: int) -> int:
        """How many are removed of so many."""
        return self.down if self.unit == "machines" else max(1, machines * self.down // 100)

    def projected(self, value: float, machines: int, fewer: int) -> float:
        """What the metric comes to when there are so many fewer."""
        left = machines - fewer
        return value * machines / left if self.is_per_machine and left > 0 else value

    @model_validator(mode="after")
    def _decides(self) -> "Rule":
        if bool(self.command) != (self.of == "command"):
            raise ValueError(f"{self.name} has {'a' if self.command else 'no'} command", "say command with of: command, and only then")
        if self.each is not None:
            if self.above is not None or self.below is not None:
                raise ValueError(f"{self.name} has both thresholds and one machine for each", "say either thresholds or each")
            if self.is_per_machine:
                raise ValueError(
                    f"{self.name}: {self.metric} is a mean of machines, and falls when there are more",
                    "use thresholds, or a metric of all together",
                )
        elif self.above is None and self.below is None:
            raise ValueError(f"{self.name} never decides anything", "say above, below, or each")
        if self.least > self.most:
            raise ValueError(f"least ({self.least}) of {self.name} is above most ({self.most})", "raise most or lower least")
        if self.above is not None and self.below is not None:
            if self.below >= self.above:
                raise ValueError(
                    f"{self.name} fights itself: at {self.above:g} it both adds and removes", f"have below be less than {self.above:g}"
                )
            if (at := self._flaps_at(self.above, self.below)) is not None:
                fewer = min(self.step_down(at), at - self.least)
                raise ValueError(
                    f"{self.name} would flap: {at} machines at {self.below:g} become {at - fewer} at "
                    f"{self.projected(self.below, at, fewer):g}, and at {self.above:g} machines are added",
                    "raise above, lower below, or remove fewer at a time",
                )
        return self

    def _flaps_at(self, above: float, below: float) -> int | None:
        """A number of machines at which removing some brings the value above the upper threshold; None when there is none."""
        for machines in range(max(self.least, 1) + 1, min(self.most, PROJECTED) + 1):
            fewer = min(self.step_down(machines), machines - self.least)
            if 0 < fewer < machines and self.projected(below, machines, fewer) >= above:
                return machines
        return None


class RuleFault(NamedTuple):
    """What does not fit between rules: in which (by its name), at which field, in words, and what to do."""

    key: str
    field: str
    message: str
    hint: str


def rule_faults(rules: Sequence[Rule]) -> Iterator[RuleFault]:
    """What does not fit each other: two of a name, bounds without room, or rules that fight."""
    for one, other in combinations(rules, 2):
        if one.name == other.name:
            yield RuleFault(other.key, "name", f"There are two rules called {one.name}", "give one of them another name")
        if one.sets != other.sets:
            continue
        if max(one.least, other.least) > min(one.most, other.most):
            yield RuleFault(
                other.key, "most", f"{one.name} and {other.name} leave no number between their bounds", "have the bounds of both overlap"
            )
        if (one.of, one.metric) == (other.of, other.metric) and (why := _fight(one, other) or _fight(other, one)):
            yield RuleFault(other.key, "above", f"{one.name} and {other.name} fight: {why}", "leave a gap, or make one rule of both")


def _fight(one: Rule, other: Rule) -> str:
    """Why the first adds where the second removes; empty when it does not."""
    if one.each is not None:
        return f"both go by {one.metric}"
    if one.above is not None and other.below is not None and other.below >= one.above:
        return f"from {one.above:g} to {other.below:g} one adds and the other removes"
    if one.above is None or other.below is None:
        return ""
    machines = max(one.least, other.least, 1) + 1
    fewer = min(other.step_down(machines), machines - 1)
    if other.projected(other.below, machines, fewer) >= one.above:
        return (
            f"{machines} machines at {other.below:g} become {machines - fewer} at {other.projected(other.below, machines, fewer):g}, "
            f"and at {one.above:g} machines are added"
        )
    return ""
