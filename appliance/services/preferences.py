"""What an admin decides about the appliance as a whole."""

from zoneinfo import available_timezones

from appliance import catalog
from appliance.catalog import Actor, options, record
from appliance.errors import BadInput

TITLE_LENGTH = 60


def check_title(title: str) -> str:
    """The title as it will be kept. Raises BadInput."""
    title = " ".join(title.split())
    if not title or len(title) > TITLE_LENGTH:
        raise BadInput(f"The appliance needs a name of 1 to {TITLE_LENGTH} characters.", "Your team's or school's name is a good one.")
    return title


def check_time_zone(name: str) -> str:
    """The time zone. Raises BadInput when there is none of that name."""
    if name not in available_timezones():
        raise BadInput(f"There is no time zone {name!r}.", "Pick one from the list, like Europe/Berlin.")
    return name


def change(actor: Actor, *, title: str, time_zone: str) -> None:
    """Set title and time zone. Raises BadInput; nothing is changed then."""
    values = {"title": check_title(title), "time_zone": check_time_zone(time_zone)}
    with catalog.write():
        before = {name: options.get(name) for name in values}
        for name, value in values.items():
            options.put(name, value)
        record("settings.changed", f"{actor.name} changed the settings.", actor, before=before, after=values)
