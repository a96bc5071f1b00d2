"""Readings: what keeping a look costs, the bytes of an hour, and a chart of any age, each beside SQLite alone doing the same.

The recorder, the store and the catalog are the engine's own; machines are rows, and what is read of them is made up. The clock is the benchmark's.
"""

import contextlib
import random
import sqlite3
import statistics
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest import mock

from appliance import catalog, layout
from appliance.catalog import Class, Machine, MachineState, Seed, SeedState, machines, now
from appliance.engine import recorder
from appliance.engine.balancer import Balancer
from appliance.engine.readings import Readings
from appliance.hypervisor.provider import HostFacts
from appliance.lifecycle.sizing import HostMemory
from appliance.readings import FIGURES, HOST, Kind, Store, Subject
from appliance.readings.store import LOOK, TIERS
from appliance.settings import Settings, load
from tests.seeds import small_scenario

MACHINES, TIMES_MORE, LOOKS, CHARTS = 250, 10, 360, 20
SMALLEST = {"MACHINES": 5, "LOOKS": 13, "CHARTS": 1}
OF_MACHINES = ("cpu", "memory", "memory_used", "memory_private", "memory_shared", "disk_read", "disk_written", "net_received", "net_sent")
AGES = {"hour": 1, "day": 24, "week": 7 * 24, "month": 30 * 24, "year": 365 * 24, "two years": 730 * 24}


class Made(Readings):
    """Readings that nobody took: another value for every figure of every machine at each look."""

    def __init__(self, ids: list[str]) -> None:
        self.ids, self.random = ids, random.Random(1)
        self.machines: dict[str, dict[str, float | None]] = {}
        self.memory, self.cpu = HostMemory(90_000, 5000, 200_000, 240_000), 35.0

    def take(self) -> None:
        self.facts = HostFacts("kvm", "", "", 64, 262_144, 120_000, 800_000, 1_900_000)
        self.machines = {id: {name: self.random.random() * 1e6 for name in OF_MACHINES} for id in self.ids}


@contextlib.contextmanager
def host(count: int) -> Iterator[tuple[Settings, Made]]:
    """A catalog with this many machines in use, and what is read of them."""
    with tempfile.TemporaryDirectory(prefix="dpe-bench-") as folder:
        settings = load({}, state=Path(folder) / "s", network="bench", slots=count, app_port=10_000)
        layout.prepare(settings)
        catalog.open(settings.catalog)
        spec = small_scenario().classes["small"].model_dump(mode="json")
        with catalog.write():
            for name in ("small", "notebook", "studio"):
                made_class = Class.create(
                    name=name, spec=spec, minimum=0, maximum=count, buffer=0, lease_minutes=60, extend_minutes=30, extensions=1, per_person=1,
                )  # fmt: skip
            seed = Seed.create(machine_class=made_class.name, version=1, state=SeedState.READY)
            ids = [machines.create(made_class, seed, str(uuid.UUID(int=slot + 1)), slot).id for slot in range(count)]
            Machine.update(state=MachineState.IN_USE).execute()
        try:
            yield settings, Made(ids)
        finally:
            catalog.close()


def _processor_seconds(work: Callable[[], object]) -> float:
    begun = time.process_time()
    work()
    return time.process_time() - begun


def looks(settings: Settings, made: Made) -> float:
    """Processor time of one look, thinning and forgetting of an hour counted in."""
    begun, spent = now(), []
    recording = recorder.Recorder(Store(settings.readings), made, Balancer(settings))
    for number in range(LOOKS):
        made.take()
        with mock.patch.object(recorder, "now", lambda number=number: begun + timedelta(seconds=10 * number)):
            spent.append(_processor_seconds(recording.record))
    recording.close()
    return statistics.fmean(spent)


def inserts(settings: Settings, made: Made) -> float:
    """The same rows into a table by sqlite3 alone."""
    spent = []
    with contextlib.closing(sqlite3.connect(settings.state / "alone.db", isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = wal")
        connection.execute("PRAGMA synchronous = normal")
        connection.execute(f"CREATE TABLE reading (id, t, {', '.join(OF_MACHINES)}, PRIMARY KEY (id, t)) WITHOUT ROWID")
        for number in range(LOOKS):
            made.take()
            rows = [(id, number * 10, *figures.values()) for id, figures in made.machines.items()]

            def insert(rows: list[tuple[Any, ...]] = rows) -> None:
                connection.execute("BEGIN IMMEDIATE")
                connection.executemany(f"INSERT INTO reading VALUES ({', '.join('?' * (2 + len(OF_MACHINES)))})", rows)
                connection.execute("COMMIT")

            spent.append(_processor_seconds(insert))
    return statistics.fmean(spent)


def charts(settings: Settings, subject: Subject) -> dict[str, tuple[float, float]]:
    """Seconds of a chart, and of reading its rows with sqlite3 alone, by age; the best of several. The last hour is what was looked at."""
    at, columns = now() + timedelta(seconds=10 * LOOKS), [f"{name}{end}" for end in ("", "_most") for name in FIGURES]
    with contextlib.closing(Store(settings.readings)) as store, contextlib.closing(sqlite3.connect(settings.readings)) as connection:
        [series] = connection.execute("SELECT id FROM series WHERE kind = ? AND name = ?", subject[:2]).fetchone()
        fill = f"INSERT OR REPLACE INTO reading (step, series, t, {', '.join(columns)}) VALUES ({', '.join('?' * (3 + len(columns)))})"
        with connection:
            for tier in TIERS[1:]:
                times = range(int((at - tier.kept(subject.kind)).timestamp()) // tier.step * tier.step, int(at.timestamp()), tier.step)
                connection.executemany(fill, ((tier.step, series, t, *([t % 977 / 7] * len(columns))) for t in times))
        found = {}
        for name, hours in AGES.items():
            span = timedelta(hours=hours)
            tier = next((tier for tier in TIERS if tier.kept(subject.kind) >= span), None)
            if tier is None:
                continue
            begin = int((at - span).timestamp())
            if tier is LOOK:
                moments = ", ".join(str(t) for t in range(begin // 10 * 10, int(at.timestamp()), 10))
                rows = f"SELECT t, {', '.join(FIGURES)} FROM look WHERE t IN ({moments}) AND series = {series} ORDER BY t"
            else:
                rows = f"SELECT t, {', '.join(columns)} FROM reading WHERE step = {tier.step} AND series = {series} AND t >= {begin} ORDER BY t"

            def chart(span: timedelta = span) -> object:
                return store.series(subject, FIGURES, span, at)

            def alone(rows: str = rows) -> object:
                return connection.execute(rows).fetchall()

            found[name] = (min(map(_processor_seconds, [chart] * CHARTS)), min(map(_processor_seconds, [alone] * CHARTS)))
        return found


def result(name: str, value: float, unit: str, baseline: str, baseline_value: float, ratio: float) -> dict[str, Any]:
    return {"name": name, "value": value, "unit": unit, "baseline": baseline, "baseline_value": baseline_value, "ratio": round(ratio, 3)}


def run() -> Iterator[dict[str, Any]]:
    with host(MACHINES) as (settings, made):
        few, alone = looks(settings, made), inserts(settings, made)
        yield result("readings.look", round(few, 5), f"s of processor for {MACHINES} machines", "the same rows, inserted by sqlite3 alone",
                     round(alone, 5), alone / few)  # fmt: skip
        with contextlib.closing(Store(settings.readings)) as store:
            bytes_an_hour = store.size() * 360 / LOOKS
        plain = MACHINES * 360 * len(OF_MACHINES) * 8
        yield result("readings.hour", round(bytes_an_hour), f"bytes an hour of {MACHINES} machines, as read and thinned",
                     "the figures alone, 8 bytes each", plain, plain / bytes_an_hour)  # fmt: skip
        for subject in (HOST, Subject(Kind.MACHINE, made.ids[0])):
            found = charts(settings, subject)
            age = max(found, key=lambda age: found[age][0] / max(found[age][1], 1e-6))
            took, read = found[age]
            ending = ".machine" if subject.kind is Kind.MACHINE else ""
            yield result(f"readings.chart{ending}", round(took / max(read, 1e-6), 2), f"times reading its rows, at the worst age, which is a {age}",
                         "seconds of reading them with sqlite3 alone", round(read, 6), read / took)  # fmt: skip
            yield result(f"readings.chart{ending}.seconds", round(max(took for took, _ in found.values()), 5), "s, the longest of all ages",
                         "seconds of reading its rows with sqlite3 alone", round(max(read for _, read in found.values()), 5),
                         max(read for _, read in found.values()) / max(took for took, _ in found.values()))  # fmt: skip
    with host(MACHINES * TIMES_MORE) as (settings, made):
        many = looks(settings, made)
    growth = many / few
    yield result("readings.growth", round(growth, 2), f"times the look at {MACHINES} machines for {MACHINES * TIMES_MORE}",
                 "times as many machines", TIMES_MORE, TIMES_MORE / growth)  # fmt: skip
