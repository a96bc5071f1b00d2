"""The record of everything that happened: whether it is whole, copies of it, and where it is sent on to."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from appliance import catalog, connect, syslog
from appliance.catalog import Account, Actor, Event, EventKind, Level, doorbell, events, now, options, record
from appliance.errors import BadInput
from appliance.services import csv_export

COLUMNS = (
    "id",
    "at",
    "kind",
    "level",
    "message",
    "actor",
    "address",
    "account_id",
    "class_name",
    "machine_id",
    "seed_id",
    "object",
    "data",
    "hash",
)


def verify(actor: Actor) -> events.Chain:
    """Look whether any line was changed, removed or added; that somebody looked, and what was found, is recorded."""
    chain = events.verify()
    found = f"the record is whole: {chain.lines} lines" if not chain.problems else f"the record was tampered with: {chain.problems[0]}"
    with catalog.write():
        options.put(
            "audit_check",
            {"at": now().isoformat(), "lines": chain.lines, "last": chain.last, "hash": chain.hash, "problems": chain.problems},
        )
        record(
            EventKind.AUDIT_VERIFIED,
            f"{actor.name} had the record checked; {found}",
            actor,
            level=Level.ERROR if chain.problems else Level.INFO,
        )
    return chain


def last_check() -> dict[str, Any]:
    """What the last look found: at, lines, last, hash, problems; empty when nobody looked yet."""
    found: dict[str, Any] = options.get("audit_check")
    return found


def about(account: Account, limit: int = 30) -> list[Event]:
    """The last that somebody did, and that was done to their account; newest first."""
    done = events.list_events(actor=account.name, limit=limit)
    met = events.list_events(object=f"account:{account.name}", limit=limit)
    return sorted({event.id: event for event in (*done, *met)}.values(), key=lambda event: event.id, reverse=True)[:limit]


def note_export(actor: Actor, form: str) -> None:
    """Record that somebody takes a copy away."""
    with catalog.write():
        record(EventKind.AUDIT_EXPORTED, f"{actor.name} exported events as {form}.", actor)


def _plain(event: Event) -> dict[str, Any]:
    values = {name: getattr(event, name) for name in COLUMNS}
    return {**values, "at": event.at.isoformat(timespec="microseconds"), "level": event.level.value}


def as_json_lines(**search: Any) -> Iterator[str]:
    """The events that fit, oldest first, one JSON object a line."""
    for event in events.every(**search):
        yield json.dumps(_plain(event), ensure_ascii=False) + "\n"


def as_csv(**search: Any) -> Iterator[str]:
    """The events that fit, oldest first, with a line of names above them."""
    found = (_plain(event) for event in events.every(**search))
    return csv_export.lines(COLUMNS, ({**values, "data": json.dumps(values["data"])}.values() for values in found))


@dataclass(frozen=True)
class Forwarding:
    """Where events are sent on to, how many wait, and why they are not taken now."""

    receiver: syslog.Receiver | None
    waiting: int
    problem: str


def forwarding() -> Forwarding:
    """Where events are sent on to, now."""
    to = syslog.receiver()
    return Forwarding(to, syslog.waiting() if to else 0, options.get("syslog_problem") if to else "")


def set_forwarding(actor: Actor, *, host: str, port: str, transport: str) -> None:
    """Send events on to a syslog receiver, from where one got; an empty host ends it. Raises BadInput."""
    if transport not in ("tcp", "udp"):
        raise BadInput("Events are sent over TCP or UDP.", "Choose TCP unless your receiver knows only UDP.", field="transport")
    to = None
    if host.strip():
        number = connect.check_port(port, "Syslog receivers usually listen on port 514 or 601.")
        to = syslog.Receiver(connect.check_host(host), number, transport)
    chosen = asdict(to) if to else {}
    with catalog.write():
        before = options.get("syslog")
        options.put("syslog", chosen)
        options.put("syslog_problem", "")
        where = f"sent on to {to}" if to else "not sent on any more"
        record(EventKind.AUDIT_FORWARDING, f"{actor.name} decided: events are {where}.", actor, before=before, after=chosen)
    doorbell.ring()
