"""How pages put values into words: times, spans, sizes, states."""

import html
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import segno
from flask import Flask, g, request, url_for
from flask_login import current_user
from flask_wtf.csrf import generate_csrf
from markupsafe import Markup

from appliance.catalog import DiskState, Machine, MachineState, Quota, RunState, SeedState, SnapshotState, StepState, now, timezone
from appliance.language import SOURCE
from appliance.services import mail, overview, storage, updates
from webui import forms, guard, language, navigation

STATES: dict[str, tuple[str, str]] = {
    MachineState.PLANNED: ("planned", "secondary"),
    MachineState.CREATING: ("creating", "blue"),
    MachineState.READY: ("ready", "green"),
    MachineState.ASSIGNED: ("assigned", "azure"),
    MachineState.IN_USE: ("in use", "teal"),
    MachineState.STOPPED: ("stopped", "secondary"),
    MachineState.SUSPENDED: ("suspended", "yellow"),
    MachineState.REPROVISIONING: ("reprovisioning", "blue"),
    MachineState.RECLAIMING: ("reclaiming", "orange"),
    MachineState.RETIRED: ("retired", "secondary"),
    MachineState.FAILED: ("failed", "red"),
    MachineState.QUARANTINED: ("quarantined", "red"),
}

SEED_STATES: dict[str, tuple[str, str]] = {
    SeedState.QUEUED: ("queued", "secondary"),
    SeedState.BUILDING: ("building", "blue"),
    SeedState.READY: ("ready", "green"),
    SeedState.FAILED: ("failed", "red"),
    SeedState.CANCELLED: ("cancelled", "secondary"),
    SeedState.REMOVED: ("deleted", "secondary"),
}

SNAPSHOT_STATES: dict[str, tuple[str, str]] = {
    SnapshotState.BUILDING: ("being taken", "blue"),
    SnapshotState.READY: ("ready", "green"),
    SnapshotState.FAILED: ("failed", "red"),
    SnapshotState.STALE: ("no longer used", "secondary"),
}


DISK_STATES: dict[str, tuple[str, str]] = {
    DiskState.NEW: ("not made yet", "secondary"),
    DiskState.READY: ("whole", "green"),
    DiskState.RESTORING: ("being restored", "blue"),
    DiskState.TROUBLED: ("put aside", "red"),
    DiskState.REMOVING: ("being deleted", "orange"),
}

RUN_STATES: dict[str, tuple[str, str]] = {
    RunState.QUEUED: ("about to go on", "secondary"),
    RunState.RUNNING: ("running", "blue"),
    RunState.WAITING: ("waiting", "yellow"),
    RunState.UNDOING: ("being undone", "orange"),
    RunState.DONE: ("done", "green"),
    RunState.FAILED: ("failed", "red"),
    RunState.CANCELLED: ("cancelled", "secondary"),
}

JOB_STATES = {"queued": "queued", "running": "running", "done": "done", "dead": "dead", "cancelled": "cancelled"}
DELIVERY_STATES = {"pending": "pending", "delivered": "delivered", "dead": "dead"}
POOLS = {"creation": "creation", "buffer": "buffer", "production": "production"}
STEP_STATES: dict[str, str] = {
    "planned": "to come",
    "skipped": "not needed",
    "unreached": "not reached",
    StepState.RUNNING: "at work",
    StepState.WAITING: "waiting",
    StepState.DONE: "done",
    StepState.FAILED: "failed",
    StepState.CANCELLED: "passed over or cancelled",
    StepState.UNDOING: "being undone",
    StepState.UNDONE: "undone",
}


def _in_text(text: str) -> Markup:
    """What stands between tags, where quotation marks mean nothing: an example of a call has dozens, each four bytes shorter like that."""
    return Markup(html.escape(text, quote=False))  # noqa: S704  # it is escaped


def init_app(app: Flask) -> None:
    app.jinja_env.filters.update(
        in_text=_in_text,
        when=when,
        moment=datetime.fromisoformat,
        clock=clock,
        hour=hour,
        ago=ago,
        span=span,
        mib=mib,
        size=size,
        plural=plural,
        article=article,
        code=forms.code,
        percent=percent,
        roughly=roughly,
        took=took,
        made=made,
        amounts=amounts,
        lower_first=lower_first,
        browser=browser,
        given=given,
    )
    app.jinja_env.globals.update(
        STATES=STATES,
        SEED_STATES=SEED_STATES,
        SNAPSHOT_STATES=SNAPSHOT_STATES,
        RUN_STATES=RUN_STATES,
        DISK_STATES=DISK_STATES,
        STEP_STATES=STEP_STATES,
        JOB_STATES=JOB_STATES,
        DELIVERY_STATES=DELIVERY_STATES,
        POOLS=POOLS,
        now=now,
        MachineState=MachineState,
        SeedState=SeedState,
    )
    app.context_processor(_context)


def _context() -> dict[str, Any]:
    """What every template knows. A request for the live part of a page gets that part alone."""
    may = current_user.may if current_user.is_authenticated else lambda *_: False
    live = guard.asks_for_live_part()
    return {
        "layout": "live.html" if live else "base.html",
        "person": current_user if current_user.is_authenticated else None,
        "appliance_title": overview.title(),
        "csrf_token": generate_csrf,
        "last_event": g.get("last_event", 0),
        "live_url": request.full_path.rstrip("?"),
        "back_url": guard.here(),
        "may": may,
        "todo_count": _todo_count,
        "needs_you": lambda: current_user.needs,
        "mail_on": mail.is_on,
        "announced_restart": updates.announced,
        "navigation": lambda: _groups(may),
        "trail": lambda: navigation.trail(may, request.endpoint or ""),
        "set_up": guard.is_set_up(),
        "disk_room": lambda: storage.room(guard.settings()),
        "disks_failing": lambda: storage.failing(guard.settings()),
        "hint_id": _hint_id,
        "icon_file": url_for("static", filename="icons.svg"),
    }


def _hint_id(name: str) -> str:
    """A short id for the hint of a field, the same wherever the page asks: a form of a hundred fields has each twice."""
    known: dict[str, str] = g.setdefault("hints", {})
    return known.setdefault(name, f"h{len(known)}")


def _groups(may: navigation.May) -> tuple[tuple[str, list[navigation.Entry]], ...]:
    """The pages of whoever is signed in, below their headings."""
    return tuple(navigation.entries(may, request.endpoint or "")) if current_user.is_authenticated else ()


def _todo_count() -> int | None:
    """How much waits for whoever is signed in; None for who is never asked."""
    return current_user.todos or (0 if current_user.is_asked else None)


def zone() -> ZoneInfo:
    """The time zone that the admin chose."""
    if "zone" not in g:
        g.zone = timezone.current()
    found: ZoneInfo = g.zone
    return found


def _moment(moment: datetime, text: str) -> Markup:
    utc = moment.astimezone(UTC)
    return Markup('<time datetime="{}" title="{} UTC">{}</time>').format(utc.isoformat(), utc.strftime("%Y-%m-%d %H:%M:%S"), text)


def when(moment: datetime | None) -> str:
    """The time in the appliance's zone, as short as today allows, with UTC for who hovers."""
    if moment is None:
        return "–"
    local, today = moment.astimezone(zone()), now().astimezone(zone())
    if local.date() == today.date():
        return _moment(moment, local.strftime("%H:%M:%S"))
    return _moment(moment, language.dated(local, "%-d %b %H:%M" if local.year == today.year else "%-d %b %Y %H:%M"))


def clock(moment: datetime) -> Markup:
    """A time to the minute, in the appliance's zone; with the day when it is not today."""
    local, today = moment.astimezone(zone()), now().astimezone(zone())
    return _moment(moment, language.dated(local, "%H:%M" if local.date() == today.date() else "%a %-d %b, %H:%M"))


def hour(moment: datetime) -> str:
    """A time to the minute, of a day that is clear, also over midnight."""
    return f"{moment.astimezone(zone()):%H:%M}"


def ago(moment: datetime | None) -> str:
    """How long ago, in words and in one unit: "3 min ago". The whole time is there for who hovers."""
    if moment is None:
        return language.text("never")
    passed = now() - moment
    text = language.text("just now") if passed < timedelta(seconds=5) else language.text("%(span)s ago", span=_unit(passed))
    return _moment(moment, text)


def _unit(length: timedelta) -> str:
    """A length of time in its largest unit: "7 h"."""
    seconds = int(length.total_seconds())
    size, unit = next((one for one in ((86400, "d"), (3600, "h"), (60, "min")) if seconds >= one[0]), (1, "s"))
    return f"{seconds // size} {unit}"


def span(length: timedelta | int | float | None) -> str:
    """A length of time in at most two units: "7 h 42 min". A bare number is seconds."""
    if length is None:
        return "–"
    seconds = int(length.total_seconds() if isinstance(length, timedelta) else length)
    if seconds < 0:
        return "0 s"
    for size, unit, below, lower in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if seconds >= size:
            many, rest = divmod(seconds, size)
            rest //= below
            return f"{many} {unit} {rest} {lower}" if rest and not (unit == "min" and many >= 10) else f"{many} {unit}"
    return f"{seconds} s"


def took(length: timedelta) -> str:
    """How long something took that may have been quick: "0.4 s"."""
    seconds = length.total_seconds()
    return f"{language.decimal(max(seconds, 0.1), 1)} s" if seconds < 9.95 else span(length)


_ORIGINS = {False: "booted", True: "forked"}
READINESS = {"running": "running", "paused": "paused", "cold": "cold"}


def made(machine: Machine) -> str:
    """How a machine came to be and, in the buffer, how it waits: "forked, paused"."""
    if machine.state is not MachineState.READY:
        return language.text(_ORIGINS[machine.origin == "fork"])
    if machine.readiness == "cold":
        return language.text("cold")
    return f"{language.text(_ORIGINS[machine.origin == 'fork'])}, {language.text(machine.readiness)}"


def amounts(quota: Quota) -> str:
    """What a quota allows, in words: "6 machines, 24 GiB memory"."""
    words = [plural(quota.machines, "machine")] if quota.machines is not None else []
    if quota.vcpus is not None:
        words.append(plural(quota.vcpus, "processor"))
    if quota.memory is not None:
        words.append(language.text("%(memory)s memory", memory=mib(quota.memory)))
    if quota.disk is not None:
        words.append(language.text("%(disk)s GiB disk", disk=quota.disk))
    if quota.lease_minutes is not None:
        words.append(language.text("leases of %(span)s", span=span(quota.lease_minutes * 60)))
    return ", ".join(words)


def mib(size: float | None) -> str:
    """A size given in MiB, in the unit that suits it."""
    if size is None:
        return "–"
    for unit in ("MiB", "GiB", "TiB"):
        if abs(size) < 1024 or unit == "TiB":
            return f"{language.decimal(size, 0 if size >= 100 or size == int(size) else 1)} {unit}"
        size /= 1024
    raise AssertionError


def size(count: int) -> str:
    """A number of bytes, in the unit that suits it."""
    return mib(count / (1 << 20)) if count >= 1 << 20 else f"{-(-count // 1024)} KiB"


def plural(number: int, one: str, many: str = "") -> str:
    """ "1 machine", "2 machines"."""
    return f"{f'{number:,}'.replace(',', ' ')} {language.noun(number, one, many or one + 's')}"


def article(noun: str) -> str:
    """The noun with "a" or "an"; other languages have what goes with it in their sentences."""
    return noun if language.current() != SOURCE else f"{'an' if noun[:1].lower() in 'aeio' else 'a'} {noun}"


def percent(part: float, whole: float) -> int:
    """How many of a hundred, 0 to 100."""
    return max(0, min(100, round(100 * part / whole))) if whole else 0


def roughly(length: timedelta) -> str:
    """A length of time as one would say it: "a moment", "about 40 seconds", "about 4 minutes", "about 2 hours"."""
    seconds = length.total_seconds()
    return language.text("a moment") if seconds < 5 else language.text("about %(time)s", time=_rounded(seconds))


def _rounded(seconds: float) -> str:
    if seconds < 55:
        return plural(max(10, round(seconds / 10) * 10), "second")
    if seconds < 5400:
        return plural(max(1, round(seconds / 60)), "minute")
    return plural(round(seconds / 3600), "hour")


def lower_first(title: str) -> str:
    """A title inside a sentence: "Notebook" becomes "notebook", "JupyterLab" stays; nouns keep their capitals elsewhere."""
    if language.current() != SOURCE:
        return title
    first, _, rest = title.partition(" ")
    return f"{first if first[1:] != first[1:].lower() else first.lower()} {rest}".strip()


def browser(agent: str) -> str:
    """A browser's and its system's name, from what it calls itself."""
    name = next((name for mark, name in BROWSERS if mark in agent), language.text("Another program"))
    system = next((name for mark, name in SYSTEMS if mark in agent), "")
    return language.text("%(name)s on %(system)s", name=name, system=system) if system else name


BROWSERS = (("Edg/", "Edge"), ("OPR/", "Opera"), ("Firefox/", "Firefox"), ("Chrome/", "Chrome"), ("Safari/", "Safari"), ("curl/", "curl"))
SYSTEMS = (("Android", "Android"), ("iPhone", "iPhone"), ("iPad", "iPad"), ("Windows", "Windows"), ("Mac OS", "macOS"), ("Linux", "Linux"))


def given(values: dict[str, Any]) -> dict[str, Any]:
    """Those that are not empty."""
    return {name: value for name, value in values.items() if value}


def qr_code(text: str) -> Markup:
    """A QR code; black on white in dark mode too, or cameras do not see it."""
    return Markup(segno.make(text, error="m", micro=False).svg_inline(scale=5, dark="#000", light="#fff"))  # noqa: S704
