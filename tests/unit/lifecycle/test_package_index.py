"""When an index is read: because somebody asked, after a build, and before a build would be refused by an older one. Never by itself."""

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

import pytest

from appliance.catalog import Actor, Event, Seed, SeedState, now, package_index
from appliance.engine import Engine
from appliance.errors import BadInput, Unavailable
from appliance.lifecycle import package_index as reading
from appliance.lifecycle import seed_builds
from appliance.packages import sources
from appliance.packages.refresh import Job
from appliance.scenario.load import Loaded, load
from appliance.services import packages as verbs
from appliance.services import seeds
from appliance.settings import Settings
from tests import packages as made
from tests.unit.engine.conftest import engine, provider
from tests.unit.engine.fake import FakeProvider
from tests.unit.lifecycle.test_seed_builds import FILES

__all__ = ["engine", "provider"]


class Mirror:
    """In place of the process that reads an index: what it was asked to read, and whether the mirror answers."""

    def __init__(self) -> None:
        self.read: list[str] = []
        self.problem: Unavailable | None = None

    def __call__(self, job: Job, environment: Mapping[str, str]) -> None:
        file = Path(job.file)
        self.read.append(file.stem)
        assert not list(Path(job.work).iterdir())
        if self.problem:
            raise self.problem
        made.write(file.parent, file.stem)


@pytest.fixture
def mirror(opened: Settings, monkeypatch: pytest.MonkeyPatch) -> Mirror:
    found = Mirror()
    monkeypatch.setattr(Job, "run_aside", lambda job, environment: found(job, environment))
    monkeypatch.setattr(sources, "mirror", lambda _: sources.Mirror("http://a/debian", "http://a/s"))
    return found


SCENARIO = """name: test
title: Test
classes:
  small:
    title: Small machine
    os: debian-13
    size: {vcpus: 1, memory: 256, disk: 2}
    packages: [git, PACKAGE]
    application: {port: 8080}
  other:
    title: Other
    os: debian-13
    size: {vcpus: 1, memory: 256, disk: 2}
    packages: [nosuch]
    application: {port: 8080}
"""


@pytest.fixture
def loaded(tmp_path: Path, request: pytest.FixtureRequest) -> Loaded:
    folder = tmp_path / "test"
    folder.mkdir()
    (folder / "scenario.yml").write_text(SCENARIO.replace("PACKAGE", getattr(request, "param", "less")))
    return load(folder)


def build(loaded: Loaded, settings: Settings, admin: Actor, monkeypatch: pytest.MonkeyPatch) -> Seed:
    monkeypatch.setattr(seed_builds, "build", lambda *_: FILES)
    seed_builds.run(seeds.build("small", admin), loaded, settings, FakeProvider())
    return Seed.get(Seed.class_name == "small", Seed.version == 2)


def test_nothing_is_read_unless_somebody_asks(engine: Engine, mirror: Mirror, admin: Actor, opened: Settings) -> None:
    engine.tick()
    assert not reading.is_due()
    verbs.refresh(admin, "debian-13")
    assert reading.is_due()
    reading.read_wanted(opened)
    assert (mirror.read, reading.is_due()) == (["debian-13"], False)
    assert verbs.release("debian-13").count
    assert Event.get(Event.kind == "packages.read").message == "The package index of Debian 13 was read."
    assert not (opened.cache / "apt").exists()


@pytest.mark.lost
def test_a_mirror_that_does_not_answer_is_told_and_the_index_of_before_stays(mirror: Mirror, admin: Actor, opened: Settings) -> None:
    made.write(opened.packages)
    mirror.problem = Unavailable("The package index was not read: no route.", "Check the network.")
    verbs.refresh(admin, "debian-13")
    reading.read_wanted(opened)
    found = verbs.release("debian-13")
    assert (found.standing.problem, found.standing.hint) == ("The package index was not read: no route.", "Check the network.")
    assert found.standing.failed_at is not None
    assert found.count
    assert not reading.is_due(), "it is not tried again by itself"
    assert Event.get(Event.kind == "packages.failed").data["hint"] == "Check the network."
    mirror.problem = None
    verbs.refresh(admin, "debian-13")
    reading.read_wanted(opened)
    assert verbs.release("debian-13").standing == package_index.Standing()


def test_after_a_build_the_index_is_read_unless_it_is_of_today(
    small: object, loaded: Loaded, mirror: Mirror, admin: Actor, opened: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert build(loaded, opened, admin, monkeypatch).state is SeedState.READY, "without an index nothing is known to be wrong"
    assert package_index.wanted() == ["debian-13"]
    reading.read_wanted(opened)
    reading.after_build("debian-13")
    assert package_index.wanted() == []


@pytest.mark.badinput
@pytest.mark.parametrize("loaded", ["postgrseql"], indirect=True)
def test_a_build_is_refused_only_by_an_index_of_today_with_the_line(
    small: object, loaded: Loaded, mirror: Mirror, admin: Actor, opened: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    made.write(opened.packages, at=now() - timedelta(days=2))
    failed = build(loaded, opened, admin, monkeypatch)
    assert mirror.read == ["debian-13"], "it was read anew before"
    assert (failed.state, failed.problem) == (SeedState.FAILED, "Debian 13 has no package postgrseql (scenario.yml, line 8).")
    assert failed.hint.startswith("Write postgresql")


@pytest.mark.parametrize("loaded", ["newer"], indirect=True)
def test_what_the_mirror_has_by_now_is_built(loaded: Loaded, mirror: Mirror, opened: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    made.write(opened.packages, at=now() - timedelta(days=2))
    rows = (*made._ROWS, ("newer", "web", "optional", 1, 1, {}))
    monkeypatch.setattr(made, "_ROWS", rows)
    reading.check("small", loaded.scenario.classes["small"], loaded.folder, opened)
    assert mirror.read == ["debian-13"]
    mirror.problem = Unavailable("It does not answer.")
    monkeypatch.setattr(made, "_ROWS", rows[:-1])
    made.write(opened.packages, at=now() - timedelta(days=2))
    with pytest.raises(BadInput, match="no package newer"):
        reading.check("small", loaded.scenario.classes["small"], loaded.folder, opened)
