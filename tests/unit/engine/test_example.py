"""The example package adds an activity, a provider, metrics and something that hears of events: each works, and one that is broken spoils nothing."""

import sys
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from prometheus_client import generate_latest

from appliance import catalog
from appliance.catalog import EventKind, Step, VersionState, events, now, options, record, runs, sequences
from appliance.catalog import Sequence as SequenceRow
from appliance.engine import Engine, listeners
from appliance.hypervisor.libvirt.provider import LibvirtProvider
from appliance.hypervisor.providers import open_provider
from appliance.services import metrics
from appliance.settings import REPOSITORY, Settings
from appliance.workflow import kinds, sequence
from tests.unit.engine.fake import FakeProvider, settle

EXAMPLE = REPOSITORY / "tests/example"
CACHED = (kinds._from_entry_points, metrics._from_entry_points, listeners.known, sequence.planned_steps)


def forget() -> None:
    for cached in CACHED:
        cached.cache_clear()
    for name in ("dpe_example", "dpe_example_provider"):
        sys.modules.pop(name, None)


@pytest.fixture
def example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The package, installed as pip would: its modules on the path, and what its pyproject.toml says as a dist-info."""
    declared = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())["project"]
    info = tmp_path / "dpe_example-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {declared['name']}\nVersion: {declared['version']}\n")
    groups = [
        f"[{group}]\n" + "".join(f"{name} = {target}\n" for name, target in points.items())
        for group, points in declared["entry-points"].items()
    ]
    (info / "entry_points.txt").write_text("\n".join(groups))
    for path in (EXAMPLE, tmp_path):
        monkeypatch.syspath_prepend(str(path))
    monkeypatch.setattr(kinds, "_KNOWN", dict(kinds._KNOWN))
    forget()
    yield import_module("dpe_example")
    forget()


@pytest.fixture
def engine(example: ModuleType, opened: Settings, small: object) -> Iterator[Engine]:
    """An engine that was started with the package installed."""
    with catalog.write():
        options.put("setup_done", True)
    made = Engine(opened, FakeProvider())
    yield made
    made.stop()
    made.close()


def happen(message: str) -> None:
    with catalog.write():
        record(EventKind.MACHINE_FAILED, message)


def test_it_adds_in_every_way_that_there_is(engine: Engine, example: ModuleType, opened: Settings) -> None:
    settle(engine, 2)
    with catalog.write():
        SequenceRow.insert(name="house", title="House").execute()
        version = sequences.add(
            "house", '{"stop":{"before":[{"name":"bell","kind":"ring","with":{"bell":"door"}}]}}', VersionState.PROMOTED
        )
        id = runs.begin_run("stop", version_id=version.id)
    begun = engine.runner.begin(id)
    assert begun is not None
    engine.runner.settle(begun, engine.runner.perform(begun))
    assert Step.get(Step.run == id).output == {"rang": "door", "for": f"{id}.bell"}
    happen("It failed.")
    settle(engine, 2)
    assert example.counted == {"rung": 1, "alarms": 1}
    told = generate_latest(metrics.registry()).decode()
    assert 'house_bell_total{what="rung"} 1.0' in told
    assert 'house_bell_total{what="alarms"} 1.0' in told
    assert 'dpe_collector_up{collector="bell"} 1.0' in told
    assert isinstance(open_provider(replace(opened, provider="example")), LibvirtProvider)


# -- who hears of events -------------------------------------------------------------------------------


@pytest.fixture
def hears(example: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Have these functions hear of events, in place of the example's: `hears(bell=function)`."""

    def put(**functions: Callable[[Any], object]) -> list[str]:
        monkeypatch.setattr(listeners, "known", lambda: functions)
        return []

    return put


def test_each_hears_of_everything_in_order_and_of_nothing_from_before(engine: Engine, hears: Callable[..., list[str]]) -> None:
    happen("Before.")
    heard: list[str] = []
    hears(bell=lambda event: heard.append(event["message"]))
    settle(engine, 2)
    for number in range(3):
        happen(f"{number}")
    settle(engine, 2)
    assert [message for message in heard if message.isdigit()] == ["0", "1", "2"]
    assert "Before." not in heard
    assert 0 < options.get("event_listeners")["bell"] <= events.last_id()


@pytest.mark.badinput
def test_one_that_raises_is_told_again_later_and_holds_up_nobody(
    engine: Engine, hears: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    good: list[str] = []
    bad: list[str] = []

    def hear(heard: list[str], event: Any) -> None:
        if event["message"] in ("twice", "after"):  # the engine does things of its own meanwhile
            heard.append(event["message"])

    def stumbles(event: Any) -> None:
        hear(bad, event)
        if event["message"] == "twice" and bad.count("twice") == 1:
            raise RuntimeError("not now")

    moment = [now()]
    monkeypatch.setattr(listeners, "now", lambda: moment[0])
    hears(good=lambda event: hear(good, event), bad=stumbles)
    settle(engine, 2)
    happen("twice")
    happen("after")
    settle(engine, 3)
    assert good == ["twice", "after"]
    assert bad == ["twice"], "it rests before it is told again"
    moment[0] += listeners.FIRST
    settle(engine, 3)
    assert bad == ["twice", "twice", "after"]


@pytest.mark.badinput
def test_one_that_cannot_be_imported_is_left_out(tmp_path: Path, example: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    info = tmp_path / "broken-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1\n")
    (info / "entry_points.txt").write_text(f"[{listeners.GROUP}]\nbroken = no_such_module:f\nnumber = math:pi\n")
    forget()
    assert list(listeners.known()) == ["bell"]
    assert listeners.threads() == 1
