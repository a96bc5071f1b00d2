"""Readings over time: what a chart shows, and what applications send. Who may see and send is said by the views."""

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta

from appliance.catalog import EventKind, events, now
from appliance.errors import BadInput
from appliance.readings import FIGURES, METRICS_EACH, Kind, Series, Store, Subject, is_metric, plausible
from appliance.settings import Settings

E = EventKind

SPANS = {
    "hour": timedelta(hours=1),
    "day": timedelta(days=1),
    "week": timedelta(days=7),
    "month": timedelta(days=30),
    "year": timedelta(days=365),
    "2-years": timedelta(days=730),
}
OF_MACHINES = timedelta(days=14)  # that readings of machines are kept

# The decisions that are marked on the axis of time. They are told in the words of their kind, which name nobody.
MARKS = {
    Kind.HOST: (E.HYPERVISOR_AWAY, E.HYPERVISOR_BACK, E.SETTINGS_CHANGED, E.STORAGE_FULL, E.POWER_RESTART, E.UPDATE_UPDATED, E.READINGS_LOST),
    Kind.CLASS: (
        E.CLASS_POLICY, E.CLASS_MAKING, E.CLASS_LIFE, E.CLASS_CALENDAR, E.CLASS_HOLDS, E.CLASS_FORECAST, E.CLASS_RULES, E.CLASS_SCALED, E.CLASS_ENABLED, E.CLASS_DISABLED, E.CLASS_BOOTED, E.CLASS_NOT_HANDED_OVER,
        E.SEED_PROMOTED, E.SNAPSHOT_READY, E.REPLICA_SERVING, E.REPLICA_DRAINING, E.REPLICA_DOWN, E.REPLICA_REPLACED,
    ),
    Kind.MACHINE: (
        E.MACHINE_READY, E.MACHINE_ASSIGNED, E.MACHINE_STOPPED, E.MACHINE_SUSPENDED, E.MACHINE_REPROVISIONING, E.MACHINE_TRANSFERRED,
        E.MACHINE_REVIVED, E.MACHINE_STALLED, E.MACHINE_IDLE, E.MACHINE_MEMORY,
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Mark:
    """A decision: when it was, and what it was."""

    at: datetime
    kind: str
    text: str


@dataclass(frozen=True)
class Readings:
    """What is known of a subject from `begin` to `end`: its figures, what its application sent, by name, and the marks, oldest first."""

    begin: datetime
    end: datetime
    series: Series
    sent: dict[str, Series]
    marks: list[Mark]


def spans(kind: Kind) -> list[str]:
    """The spans of time over which there are readings of this kind."""
    return [name for name, span in SPANS.items() if kind is not Kind.MACHINE or span <= OF_MACHINES]


def over_time(settings: Settings, subject: Subject, span: str) -> Readings:
    """The readings of a subject over one of `spans`, up to now. Raises BadInput for another span, Unavailable when the file cannot be read."""
    if span not in spans(subject.kind):
        raise BadInput(f"There is no span {span[:20]!r}.", f"The spans are: {', '.join(spans(subject.kind))}.")
    end = now()
    figures = [name for name in FIGURES if name != "value"]
    with _open(settings) as store:
        series = store.series(subject, figures, SPANS[span], end)
        names = store.metrics(subject)
        sent = {name: store.series(subject._replace(metric=name), ["value"], SPANS[span], end) for name in names}
    return Readings(end - SPANS[span], end, _known(series), sent, _marks(subject, end - SPANS[span]))


def send(settings: Settings, subject: Subject, values: Mapping[str, object]) -> None:
    """Keep what is said of a machine by its application, or of a class, now: numbers by name. Raises BadInput when one is none, and then keeps nothing."""
    found = {name: _number(name, value) for name, value in values.items()}
    if not found:
        raise BadInput("Nothing was sent.", 'Send numbers by name, like {"jobs": 5}.')
    with _open(settings) as store:
        if len({*store.metrics(subject), *found}) > METRICS_EACH:
            raise BadInput(
                f"A {subject.kind} may have {METRICS_EACH} names for what it sends.", "One that is not sent for 14 days is free again."
            )
        store.record(now(), {subject._replace(metric=name): {"value": value} for name, value in found.items()})


def _number(name: str, value: object) -> float:
    if not is_metric(name):
        raise BadInput(f"{name[:40]!r} is no name of a reading.", "Use up to 40 small letters, digits, and . _ - after a letter.")
    if isinstance(value, bool) or not isinstance(value, int | float) or plausible(abs(value)) is None:
        raise BadInput(f"{name}: {str(value)[:20]!r} is no number that can be kept.", "Send a number.")
    return value


def _known(series: Series) -> Series:
    """The series without the figures that were never read."""
    mean = {name: values for name, values in series.mean.items() if any(value is not None for value in values)}
    return Series(series.step, series.times, mean, {name: values for name, values in series.most.items() if name in mean})


def _marks(subject: Subject, since: datetime) -> list[Mark]:
    class_name = subject.name if subject.kind is Kind.CLASS else None
    machine_id = subject.name if subject.kind is Kind.MACHINE else None
    found = events.of_kinds(MARKS[subject.kind], since, class_name=class_name, machine_id=machine_id)
    return [Mark(at, kind, kind.text) for at, kind in found]


def _open(settings: Settings) -> closing[Store]:
    return closing(Store(settings.readings))
