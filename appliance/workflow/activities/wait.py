"""Letting time pass."""

from appliance.catalog import timezone
from appliance.workflow.kinds import Pause, duration
from appliance.workflow.runner import Context, Done, Outcome, Wait


def wait(step: Context, options: Pause) -> Outcome:
    """Go on when the time has passed, counted from when the step was begun first, whatever happened since."""
    end = step.since + duration(options.time)
    return Done() if step.now >= end else Wait(end, f"until {timezone.timestamp(end)}")
