"""What an admin decides about the appliance as a whole."""

import re
from typing import Any
from urllib.parse import urlsplit
from zoneinfo import available_timezones

from appliance import catalog
from appliance.catalog import Actor, EventKind, doorbell, options, record
from appliance.connect import check_host
from appliance.errors import BadInput
from appliance.language import LANGUAGES
from appliance.outbound import address
from appliance.settings import Settings

TITLE_LENGTH = 60
OVERCOMMIT = (100, 1000)  # percent
SIGN_OUT_HOURS = (1, 8760)
CHOICE_DAYS = (1, 3650)
CHOICE_SPACE = (1, 100_000)  # GiB
MIRROR = re.compile(r"https?://[\w.:\[\]-]+(/[\w.~%+/-]*)?", re.ASCII)


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


def decide(actor: Actor, settings: Settings, **values: Any) -> None:
    """Decide settings of the host otherwise, by their names; None leaves one to the host again. Raises BadInput; nothing is changed then."""
    with catalog.write():
        before = options.get("settings")
        after = {name: value for name, value in {**before, **values}.items() if value is not None}
        options.put("settings", after)
        options.chosen(settings).check()
        record(EventKind.SETTINGS_CHANGED, f"{actor.name} changed the settings.", actor, before=before, after=after)


def sign_out_after(actor: Actor, settings: Settings, *, idle: int, longest: int) -> None:
    """Say after how many minutes without use a browser is signed out, and after how many hours in any case. Raises BadInput."""
    low, high = SIGN_OUT_HOURS
    if not low <= longest <= high:
        raise BadInput(f"A browser is signed out after {low} to {high} hours.", "Choose a number between.", field="longest")
    if not 1 <= idle <= longest * 60:
        raise BadInput(
            "Without use, a browser is not signed out later than in any case.", f"Choose 1 to {longest * 60} minutes.", field="idle"
        )
    decide(actor, settings, session_idle=idle * 60, session_longest=longest * 3600)


def build_from(actor: Actor, settings: Settings, text: str) -> None:
    """Say which Debian mirror seeds are built from; nothing is the host's. Raises BadInput."""
    text = text.strip().rstrip("/")
    if text:
        try:
            parts = urlsplit(text)
        except ValueError:
            parts = urlsplit("")
        if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc or not MIRROR.fullmatch(text):
            raise BadInput(
                f"{text[:80]!r} is not the address of a Debian mirror.", "Write one like https://mirror.example.org/debian.", field="mirror"
            )
        check_host(parts.hostname, "mirror")
    decide(actor, settings, debian_mirror=text or None)


def keep_choices(actor: Actor, settings: Settings, *, days: int, space: int) -> None:
    """Say after how many days without a request seeds of what people chose are removed, and how many GiB these take together. Raises BadInput."""
    for field, value, (low, high), unit in (("unused_days", days, CHOICE_DAYS, "days"), ("space", space, CHOICE_SPACE, "GiB")):
        if not low <= value <= high:
            raise BadInput(f"It cannot be {value} {unit}.", f"Choose {low} to {high}.", field=field)
    decide(actor, settings, recipe_days=days, recipe_space=space)


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
