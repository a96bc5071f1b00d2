"""The bell of the house: an activity that rings it, something that hears of events, and a metric that counts both."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from prometheus_client.core import CounterMetricFamily
from pydantic import Field

from appliance.workflow.kinds import Kind, Options
from appliance.workflow.runner import Context, Done, Handler, Outcome

counted: Counter[str] = Counter()


class RingOptions(Options):
    """What the form asks; its descriptions are the help."""

    bell: str = Field(min_length=1, max_length=40, description="Which bell.")


def _ring(step: Context, options: RingOptions) -> Outcome:
    """Called again after a crash: what it does outside should find what the first call left, by a name made of run and step."""
    counted["rung"] += 1
    return Done({"rang": options.bell, "for": f"{step.run.id}.{step.planned.name}"})


class Ring:
    """dpe.activities: a kind of activity, and what it does."""

    kind = Kind("ring", "Ring a bell", "Rings the bell of the house.", RingOptions)
    handler = Handler(_ring)


def hear(event: Mapping[str, Any]) -> None:
    """dpe.events: told of every event, in order, at least once; what it raises has it told again."""
    if event["kind"] == "machine.failed":
        counted["alarms"] += 1


def count() -> list[CounterMetricFamily]:
    """dpe.metrics: asked at each scrape, in the web process."""
    made = CounterMetricFamily("house_bell", "What the bell of the house was used for.", labels=["what"])
    for what, number in counted.items():
        made.add_metric([what], number)
    return [made]
