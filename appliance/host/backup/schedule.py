"""When the next backup is due. One that was missed, because the appliance was off or something else went on, is made up."""

import logging
from datetime import UTC, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from appliance.errors import Conflict
from appliance.host.backup import appliance_backup
from appliance.host.interface import backups
from appliance.host.interface.backups import Plan
from appliance.host.rpc.client import Client
from appliance.host.rpc.periodic import every
from appliance.host.system import events
from appliance.settings import Settings

log = logging.getLogger(__name__)

LOOK = 30.0  # seconds
AGAIN = timedelta(hours=1)  # after one that failed
WEEK = 8  # days back, in which every plan with a day has a slot


def slot(plan: Plan, moment: datetime, zone: ZoneInfo) -> datetime | None:
    """The last time at or before `moment` at which a backup was planned; None without a plan."""
    if not plan.on or not plan.days:
        return None
    here, at = moment.astimezone(zone), time.fromisoformat(plan.at)
    for back in range(WEEK):
        day = here.date() - timedelta(days=back)
        planned = datetime.combine(day, at, zone).astimezone(UTC)  # an hour that a day does not have is the one after it
        if day.weekday() in plan.days and planned <= moment:
            return planned
    return None


def upcoming(plan: Plan, moment: datetime, zone: ZoneInfo) -> datetime | None:
    """The next time after `moment` at which a backup is planned."""
    if not plan.on or not plan.days:
        return None
    here, at = moment.astimezone(zone), time.fromisoformat(plan.at)
    days = (here.date() + timedelta(days=ahead) for ahead in range(WEEK))
    times = (datetime.combine(day, at, zone).astimezone(UTC) for day in days if day.weekday() in plan.days)
    return next((planned for planned in times if planned > moment), None)


def is_due(plan: Plan, since: datetime, last: dict[str, Any], moment: datetime, zone: ZoneInfo) -> bool:
    """Whether a backup should begin now: the last planned time has come since the last good one, and since the last try for an hour."""
    planned = slot(plan, moment, zone)
    if planned is None or planned <= since:
        return False
    good, begun = (datetime.fromisoformat(last[name]) if last.get(name) else None for name in ("ok_at", "begun_at"))
    if good is not None and good >= planned:
        return False
    return begun is None or begun < planned or moment - begun >= AGAIN


@every(LOOK)
def _look(settings: Settings) -> None:
    known = appliance_backup.config(settings)
    if known is None or not is_due(known.plan, known.since, appliance_backup.last(settings), datetime.now(UTC), events.zone(settings)):
        return
    try:
        Client(settings, "the schedule").begin(backups.RUN)
    except Conflict as busy:  # something else goes on; at the next look
        log.info("a backup is due: %s", busy)
