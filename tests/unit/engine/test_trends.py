"""In how many days disk and memory are used up: judged by the readings that are kept, and noted in the catalog when it changes."""

import contextlib
from dataclasses import replace
from datetime import timedelta

from appliance.catalog import Option, now, options
from appliance.engine import Engine
from appliance.hypervisor.provider import HostFacts
from appliance.readings import HOST, Store
from appliance.settings import Settings
from tests.unit.engine.fake import FakeProvider, settle

FACTS = HostFacts("emulation", "it is a test", "fake", 2, 8192, 8192, 50_000, 100_000)


def kept(settings: Settings, disk: float, memory: float) -> None:
    """Two weeks of a look every two hours, in which both grow by so much a day; they end at half of what there is."""
    with contextlib.closing(Store(settings.readings)) as store:
        for number in range(14 * 12, 0, -1):
            at, days = now() - timedelta(hours=2 * number), number / 12
            found = {"disk_usage": 0.5 - disk * days, "memory_private": 3000 - memory * days, "memory_other": 1000.0}
            store.record(at, {HOST: found})
            store.thin(at + timedelta(minutes=20))


def test_what_grows_is_told_in_days_and_what_does_not_is_not(engine: Engine, provider: FakeProvider, opened: Settings) -> None:
    provider.host = lambda: FACTS  # type: ignore[method-assign]
    kept(opened, disk=0.02, memory=0)
    settle(engine, 2)
    trends = options.get("trends")
    assert trends.keys() == {"disk"}
    assert 20 <= trends["disk"] <= 26  # to all but what machines never get


def test_memory_counts_machines_and_host_together(engine: Engine, provider: FakeProvider, opened: Settings) -> None:
    provider.host = lambda: FACTS  # type: ignore[method-assign]
    kept(opened, disk=0, memory=150)
    settle(engine, 2)
    assert 18 <= options.get("trends")["memory"] <= 23  # from 4000 of 8192 - 1024
    before = Option.get_by_id("trends")
    engine.controllers.trends.judge()
    assert Option.get_by_id("trends") == before
    engine.controllers.trends.readings.facts = replace(FACTS, memory=1 << 20)
    engine.controllers.trends.judge()
    assert options.get("trends") == {}
