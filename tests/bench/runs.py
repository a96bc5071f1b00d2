"""Runs in flight: what 1,000 of them, half waiting for people, cost an engine that starts again, against an engine with none.

They are made as people make them: by requests, approvals and machines that are ready or not. The provider is only memory.
Each restart is a process of its own, which says how long it took from opening the catalog to its first runs going on,
and how much memory it holds then.
"""

import json
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import psutil

from appliance import catalog, layout
from appliance.catalog import (
    Account,
    Class,
    Grant,
    Machine,
    Run,
    RunState,
    Seed,
    SeedState,
    Sequence,
    VersionState,
    WorkItem,
    WorkItemState,
    options,
    runs,
    sequences,
)
from appliance.catalog import now as moment
from appliance.catalog import seeds as seed_rows
from appliance.engine import Engine
from appliance.identity import secrets
from appliance.lifecycle.handlers import Handlers, ended
from appliance.run import run as run_process
from appliance.services import inbox, machines
from appliance.settings import REPOSITORY, Settings, load
from appliance.workflow import sequence
from appliance.workflow.activities import ACTIVITIES
from appliance.workflow.runner import Runner
from appliance.workflow.sequence import Around
from tests.seeds import small_scenario
from tests.unit.engine.fake import FakeProvider

COUNT = 1000
SMALLEST = {"COUNT": 20}
BASELINE = "an engine with no runs"
MOVES = {
    "assign": {
        "before": [
            {"name": "manager", "kind": "approval", "with": {"escalate": "24h", "expires": "72h"}},
            {"name": "licence", "kind": "task", "with": {"text": "Register the licence."}, "when": {"count": {"above": 1}}},
        ],
        "after": [{"name": "settle", "kind": "wait", "with": {"time": "1h"}}],
    }
}


def fill(settings: Settings, count: int, *, begin: bool = True) -> None:
    """So many requests in flight: half wait for a manager, and half, having had the yes, for a machine. The first time, whoever asks as well."""
    if begin:
        _people()
    Class.update(maximum=10_000).execute()
    runner = Runner({**ACTIVITIES, **Handlers(settings, FakeProvider()).all()}, ended=ended)
    people = list(Account.select().where(Account.name.startswith("person")))
    for number in range(count):
        person = people[number % len(people)]
        machines.request(catalog.Actor(person.name, person.id), "small")
    _go_on(runner)
    manager = Account.get(Account.name == "manager0")
    for todo in list(WorkItem.select().where(WorkItem.state == WorkItemState.OPEN).order_by(WorkItem.id.desc()).limit(count // 2)):
        inbox.decide(catalog.Actor(manager.name, manager.id), todo.id, yes=True)
    _go_on(runner)
    Class.update(maximum=0).execute()  # nothing is made for those who wait: what is measured are runs


def _people() -> None:
    described = small_scenario().classes["small"]
    with catalog.write():
        options.put("setup_done", True)
        machine_class = Class.create(
            name="small", spec=described.model_dump(mode="json"), minimum=0, maximum=10_000, buffer=0,
            lease_minutes=60, extend_minutes=30, extensions=1, per_person=100, sequence="asking",
        )  # fmt: skip
        Sequence.create(name="asking", title="Asking")
        body = sequence.dump({name: Around.model_validate(around) for name, around in MOVES.items()})
        sequences.add("asking", body, VersionState.PROMOTED)
        seed_rows.promote(Seed.create(machine_class=machine_class.name, version=1, state=SeedState.READY))
        admin = Account.create(name="admin", password="!")
        Grant.create(role="owner", account=admin)
        managers = [Account.create(name=f"manager{number}", password="!") for number in range(5)]
        for manager in managers:
            Grant.create(role="approver", account=manager, over_class="small")
        for number in range(100):
            Account.create(name=f"person{number}", password="!")


def _go_on(runner: Runner) -> None:
    while due := runs.due_steps(moment()):
        for one in due:
            runner.advance(one.id)


def restart(settings: Settings) -> dict[str, float]:
    """Start an engine on the catalog; seconds until its first runs go on, and the MiB that it holds then."""
    provider = FakeProvider()
    process = psutil.Process()
    begun = time.perf_counter()
    catalog.open(settings.catalog)
    engine = Engine(settings, provider)
    engine.controllers.dispatcher.dispatch()
    seconds = time.perf_counter() - begun
    jobs: list[Future[None]] = engine.jobs.under_way()
    for job in jobs:
        job.result(60)
    for _ in range(3):
        engine.tick()
        for job in engine.jobs.under_way():
            job.result(60)
    held = process.memory_info().rss / 2**20
    engine.stop()
    engine.close()
    catalog.close()
    return {"seconds": seconds, "memory": held}


def _settings(folder: Path) -> Settings:
    return load({}, state=folder / "s", network="bench", slots=50)


def measured(count: int) -> dict[str, float]:
    """What a restart with so many runs costs, the best of three."""
    with tempfile.TemporaryDirectory(prefix="dpe-bench-") as folder:
        settings = _settings(Path(folder))
        layout.prepare(settings)
        catalog.open(settings.catalog)
        secrets.open(settings.web_secret)
        if count:
            fill(settings, count)
            live = Run.select().where(Run.ended_at.is_null())
            assert live.count() == count
            assert WorkItem.select().where(WorkItem.state == WorkItemState.OPEN).count() == count // 2
            # As a killed engine leaves them: some were being worked on.
            Run.update(state=RunState.RUNNING).where(Run.id.in_([row.id for row in live.limit(COUNT // 10)])).execute()
            assert not Machine.select().count()
        catalog.close()
        found = []
        for _ in range(3):
            said = run_process([sys.executable, "-m", "tests.bench.runs", folder], cwd=REPOSITORY)
            found.append(json.loads(said.splitlines()[-1]))
    return {name: min(one[name] for one in found) for name in ("seconds", "memory")}


def run() -> Iterator[dict[str, Any]]:
    none, many = measured(0), measured(COUNT)
    for name, key, unit in (("restart", "seconds", "s"), ("memory", "memory", "MiB")):
        yield {
            "name": f"workflow.{name}_{COUNT}", "value": round(many[key], 4), "unit": unit,
            "baseline": BASELINE, "baseline_value": round(none[key], 4), "ratio": round(none[key] / many[key], 3),
        }  # fmt: skip


if __name__ == "__main__":
    print(json.dumps(restart(_settings(Path(sys.argv[1])))))
