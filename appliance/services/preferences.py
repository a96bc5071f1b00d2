"""What an admin decides about the appliance as a whole."""

from zoneinfo import available_timezones

from appliance import catalog
from appliance.catalog import Actor, EventKind, doorbell, options, record
from appliance.errors import BadInput
from appliance.language import LANGUAGES
from appliance.outbound import address

TITLE_LENGTH = 60
OVERCOMMIT = (100, 1000)  # percent


def check_title(title: str) -> str:
    """The title as it will be kept. Raises BadInput."""
    title = " ".join(title.split())
    if not title or len(title) > TITLE_LENGTH:
        raise BadInput(
            f"The appliance needs a name of 1 to {TITLE_LENGTH} characters.", "Your team's or school's name is a good one.", field="title"
        )
    return title


def check_time_zone(name: str) -> str:
    """The time zone. Raises BadInput when there is none of that name."""
    if name not in available_timezones():
        raise BadInput(f"There is no time zone {name!r}.", "Pick one from the list, like Europe/Berlin.", field="time_zone")
    return name


def check_language(name: str) -> str:
    """The language. Raises BadInput when there is none of that name."""
    if name not in LANGUAGES:
        raise BadInput(f"There is no language {name[:20]!r} here.", f"Choose one of {', '.join(LANGUAGES)}.", field="language")
    return name


def check_overcommit(text: str) -> int:
    """The percentage. Raises BadInput."""
    low, high = OVERCOMMIT
    text = text.strip()
    if not (text.isascii() and text.isdigit() and len(text) < 10 and low <= int(text) <= high):
        raise BadInput(
            f"The memory handed out cannot be {text!r} percent.", f"Write a whole number between {low} and {high}.", field="overcommit"
        )
    return int(text)


def change(actor: Actor, *, title: str, time_zone: str, overcommit: str, language: str) -> None:
    """Set title, time zone, the language of who chose none, and how much memory may be handed out, in percent. Raises BadInput; nothing is changed then."""
    values = {
        "title": check_title(title),
        "time_zone": check_time_zone(time_zone),
        "overcommit": check_overcommit(overcommit),
        "language": check_language(language),
    }
    with catalog.write():
        before = {name: options.get(name) for name in values}
        for name, value in values.items():
            options.put(name, value)
        record(EventKind.SETTINGS_CHANGED, f"{actor.name} changed the settings.", actor, before=before, after=values)
    doorbell.ring()


def reached_at() -> str:
    """Where others reach the web page; empty while nobody said it."""
    return address.known()


def set_address(actor: Actor, text: str) -> None:
    """Say where others reach the web page. Raises BadInput."""
    after = address.check_address(text)
    with catalog.write():
        before = address.known()
        options.put("address", after)
        record(EventKind.SETTINGS_CHANGED, f"{actor.name} changed the appliance's address to {after}.", actor, before=before, after=after)


def overcommit() -> int:
    """How much memory people may hold, in percent of what machines can have."""
    percent: int = options.get("overcommit")
    return percent


def language() -> str:
    """The language of who chose none."""
    chosen: str = options.get("language")
    return chosen
