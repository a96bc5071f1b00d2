"""Times in messages and mails: in the time zone that an admin chose for the appliance, which they name."""

from datetime import datetime
from zoneinfo import ZoneInfo

from appliance.catalog import options


def current() -> ZoneInfo:
    """The appliance's time zone."""
    return ZoneInfo(options.get("time_zone"))


def timestamp(moment: datetime, zone: ZoneInfo | None = None) -> str:
    """Day and time to the minute, like `2026-11-29 11:42 CET`, in the appliance's time zone if no other is given."""
    return f"{moment.astimezone(zone or current()):%Y-%m-%d %H:%M %Z}"


def clock(moment: datetime) -> str:
    """The time to the minute of a day that is clear, like `11:42 CET`."""
    return f"{moment.astimezone(current()):%H:%M %Z}"


def date(moment: datetime) -> str:
    """The day, like `2026-11-29`."""
    return f"{moment.astimezone(current()):%Y-%m-%d}"
