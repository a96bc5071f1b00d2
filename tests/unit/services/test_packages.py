"""Packages as admins have them: refused when a scenario is saved and before a build, looked up, and what can be built without the mirror."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from appliance import catalog
from appliance.catalog import Actor, Class, Event, Seed, now, options, package_index
from appliance.errors import BadInput, NotFound, Unavailable
from appliance.packages import sources
from appliance.scenario.load import ScenarioErrors
from appliance.services import packages as verbs
from appliance.services import scenarios, seeds
from appliance.services.scenario_adoption import adopt_scenario
from appliance.settings import Settings
from tests import packages as made
from tests.unit.scenario.test_load import GOOD, write


@pytest.fixture
def known(opened: Settings) -> Settings:
    """An appliance with an index of Debian 13, read just now."""
    made.write(opened.packages)
    return opened


@pytest.fixture
def shop(known: Settings, tmp_path: Path) -> Settings:
    """It serves the scenario shop, of which notes has the package git."""
    settings = replace(known, scenario=write(tmp_path, GOOD))
    scenarios.follow_folder(settings)
    described = scenarios.described(scenarios.current())
    assert described is not None
    adopt_scenario(described)
    return settings


def text(*change: str) -> str:
    return scenarios.text(scenarios.current()).replace(*change)


@pytest.mark.badinput
def test_a_scenario_with_a_package_that_there_is_not_is_refused_with_its_line_and_what_is_nearly_called_so(
    shop: Settings, admin: Actor
) -> None:
    wrong = text("packages: [git]", "packages: [git, postgrseql]")
    line = wrong[: wrong.index("postgrseql")].count("\n") + 1
    for take in (lambda: scenarios.save_text(admin, wrong, seen=1), lambda: scenarios.with_text(wrong)):
        with pytest.raises(ScenarioErrors) as refused:
            take()
        [(file, at, message, hint)] = [(str(one.file), one.line, one.message, one.hint) for one in refused.value.errors]
        assert (file, at, message) == ("scenario.yml", line, "Debian 13 has no package postgrseql")
        assert hint.startswith("write postgresql")
    assert scenarios.current().number == 1
    assert scenarios.save_text(admin, text("packages: [git]", "packages: [git, postgresql]"), seen=1).number == 2


def test_what_came_with_the_appliance_is_taken_whatever_the_index_says(shop: Settings) -> None:
    """Nobody is there to correct it, and the build says so."""
    file = shop.scenario / "scenario.yml"
    file.write_text(file.read_text().replace("packages: [git]", "packages: [nosuch]"))
    scenarios.follow_folder(shop)
    assert scenarios.current().number == 2
    described = scenarios.described(scenarios.current())
    assert described is not None, "and it can be looked at"


def test_what_a_class_has_already_may_stay_so_that_something_else_can_be_changed(shop: Settings, admin: Actor) -> None:
    (shop.packages / "debian-13.db").unlink()
    assert scenarios.save_text(admin, text("packages: [git]", "packages: [git, dropped]"), seen=1).number == 2
    made.write(shop.packages)
    assert scenarios.save_text(admin, text("buffer: 1", "buffer: 2"), seen=2).number == 3
    with pytest.raises(ScenarioErrors, match="Debian 13 has no package another"):
        scenarios.save_text(admin, text("[git, dropped]", "[git, dropped, another]"), seen=3)
    with pytest.raises(BadInput, match="Debian 13 has no package dropped"):
        seeds.build("notes", admin)


@pytest.mark.badinput
def test_a_build_is_refused_before_it_is_queued_by_an_index_of_today_alone(shop: Settings, admin: Actor) -> None:
    with catalog.write():
        Class.update(spec={**Class.get_by_id("notes").spec, "packages": ["git", "postgrseql"]}).where(Class.name == "notes").execute()
    with pytest.raises(BadInput, match="Debian 13 has no package postgrseql") as refused:
        seeds.build("notes", admin)
    assert "Write postgresql" in refused.value.hint
    assert not Seed.select().exists()
    made.write(shop.packages, at=now() - timedelta(days=2))
    assert seeds.build("notes", admin).version == 1, "the engine reads an older index anew before it refuses anything by it"


def test_packages_are_looked_up_with_what_they_bring(known: Settings) -> None:
    total, found = verbs.search("debian-13", "postgresql")
    assert (total, found[0].package.name, found[0].estimate.packages[0]) == (5, "postgresql", "libpq5")
    assert [one.name for one in verbs.offers("debian-13", "post", 2).packages] == ["postfix", "postgresql"]
    assert verbs.offers("debian-12", "post").packages == ()
    assert verbs.offers("nosuch", "post").packages == ()
    assert verbs.estimate("debian-12", ["git"]) is None
    with pytest.raises(Unavailable, match="was not read yet"):
        verbs.search("debian-12", "git")
    with pytest.raises(NotFound, match="no release"):
        verbs.search("debian-11", "git")


def test_a_package_tells_which_classes_have_it(shop: Settings) -> None:
    assert verbs.detail("debian-13", "git").classes == ["notes"]
    assert verbs.detail("debian-13", "less").classes == []
    with pytest.raises(NotFound) as refused:
        verbs.detail("debian-13", "postgrseql")
    assert refused.value.hint.startswith("Did you mean postgresql")


def test_an_index_is_read_when_somebody_asks_and_that_is_on_record(known: Settings, admin: Actor) -> None:
    assert package_index.wanted() == []
    verbs.refresh(admin, "debian-12")
    verbs.refresh(admin, "debian-12")
    assert package_index.wanted() == ["debian-12"]
    assert [one.message for one in Event.select().where(Event.kind == "packages.asked")] == [
        "admin has the package index of Debian 12 read anew."
    ]
    with pytest.raises(NotFound):
        verbs.refresh(admin, "debian-11")
    [trixie, bookworm] = verbs.releases()
    assert (trixie.title, trixie.count, trixie.standing.wanted) == ("Debian 13", len(list(made.stanzas())), False)
    assert (bookworm.title, bookworm.count, bookworm.standing.by) == ("Debian 12", 0, "admin")


@pytest.mark.lost
def test_an_index_that_is_damaged_is_as_good_as_none(known: Settings) -> None:
    (known.packages / "debian-13.db").write_bytes(b"nothing")
    assert verbs.release("debian-13").count == 0
    assert verbs.offers("debian-13", "git").packages == ()


def test_without_the_mirror_that_can_be_built_of_which_the_packages_were_kept_this_week(shop: Settings, admin: Actor) -> None:
    settings = replace(shop, debian_mirror="http://deb.example.org/debian")
    with catalog.write():
        options.put("offered_seeds", {"notes": {"folder": "/x", "built": now().isoformat()}})
    assert [(one.kept_until, one.shipped) for one in verbs.buildable(admin, settings)] == [(None, True)]
    lines = sources.mirror(settings.debian_mirror).lines("trixie")
    kept = sources.bootstrap(settings.cache, "debian-13", lines, sources.wanted(["git"]), now())
    kept.parent.mkdir()
    kept.touch()
    [one] = verbs.buildable(admin, settings)
    assert one.kept_until is not None
    assert timedelta(0) < one.kept_until - now() <= timedelta(days=7)
    assert (one.kept_until.isoweekday(), one.kept_until.hour) == (1, 0)
    assert verbs.buildable(admin, replace(settings, debian_mirror="http://other.example.org/debian"))[0].kept_until is None
