"""When the next backup is due, and the next restore test. One that was missed, because the appliance was off or something else went on, is
made up."""

import logging
from datetime import UTC, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from appliance.errors import Conflict
from appliance.host.backup import appliance_backup
from appliance.host.interface import backups
from appliance.host.interface.backups import Last, Plan
from appliance.host.rpc.client import Client
from appliance.host.rpc.periodic import every
from appliance.host.rpc.verb import LongVerb, Nothing
from appliance.host.system import events
from appliance.settings import Settings

log = logging.getLogger(__name__)

LOOK = 30.0  # seconds
DAY = timedelta(days=1)
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


def is_test_due(plan: Plan, since: datetime, last: Last, moment: datetime) -> bool:
    """Whether a restore test should begin now: one period after the last one, or a day after the first backup could be made, after one that
    failed and after the last try."""
    period = appliance_backup.PERIODS.get(plan.restore_test)
    if period is None or not last.ok_at:
        return False
    tested, begun = (datetime.fromisoformat(one) if one else since for one in (last.tested_at, last.test_begun_at))
    return moment - tested >= (period if last.test_ok else DAY) and moment - begun >= DAY


@every(LOOK)
def _look(settings: Settings) -> None:
    known, moment = appliance_backup.config(settings), datetime.now(UTC)
    if known is None:
        return
    result = appliance_backup.last(settings)
    if is_due(known.plan, known.since, result, moment, events.zone(settings)):
        due: LongVerb[Nothing, Any] = backups.RUN
    elif is_test_due(known.plan, known.since, Last.model_validate(result), moment):
        due = backups.TEST_RESTORE
    else:
        return
    try:
        Client(settings, "the schedule").begin(due)
    except Conflict as busy:  # something else goes on; at the next look
        log.info("%s is due: %s", due.name, busy)
