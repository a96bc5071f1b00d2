"""The sequences that come with the product: what each asks of whom."""

import json
from typing import Any

import pytest

from appliance.workflow import load
from appliance.workflow.sequence import dump, planned_steps

SMALL = {"class": "small", "memory": 1024, "vcpus": 1, "disk": 8, "lease_minutes": 480, "count": 1}


def steps(name: str, move: str, **facts: Any) -> list[str]:
    """The steps that are done for a machine such as SMALL, but for these facts."""
    body = dump(load.load(load.FOLDER / f"{name}.yml").moves)
    return [planned.name for planned in planned_steps(move, body) if planned.when.hold({**SMALL, **facts})]


@pytest.mark.workflow
@pytest.mark.parametrize("file", sorted(load.FOLDER.glob("*.yml")), ids=lambda file: file.stem)
def test_each_is_sound_and_names_nobody_who_may_not_be_there(file, opened):
    if file.stem == "master":
        return
    found = load.load(file)
    assert load.warnings(json.loads(dump(found.moves))) == []
    assert found.description


@pytest.mark.workflow
def test_a_desktop_is_had_without_asking_and_its_owner_is_told_when_it_goes():
    assert steps("desktop", "assign", memory=65536, lease_minutes=525600, count=50) == ["claim", "hand_over"]
    assert steps("desktop", "reclaim") == ["tell_owner", "destroy"]


@pytest.mark.workflow
@pytest.mark.parametrize(
    ("facts", "asked"),
    [
        ({}, []),
        ({"memory": 4096, "lease_minutes": 7 * 24 * 60}, []),
        ({"memory": 4097}, ["agree_size"]),
        ({"lease_minutes": 7 * 24 * 60 + 1}, ["agree_time"]),
        ({"memory": 8192, "lease_minutes": 525600}, ["agree_size"]),
    ],
)
def test_a_server_that_is_large_or_stays_long_needs_one_yes(facts, asked):
    assert steps("server", "assign", **facts) == [*asked, "claim", "hand_over", "tell_requester", "tell_operators"]


@pytest.mark.workflow
def test_the_disk_of_a_server_is_kept_before_anything_else():
    assert steps("server", "reclaim") == ["keep", "tell_owner", "destroy", "clean_up"]


@pytest.mark.workflow
@pytest.mark.parametrize(("count", "asked"), [(1, []), (10, []), (11, ["agree_number"]), (100, ["agree_number"])])
def test_more_than_ten_machines_of_a_farm_need_a_yes(count, asked):
    assert steps("farm", "assign", count=count) == [*asked, "claim", "hand_over"]
    assert steps("farm", "reclaim", count=count) == ["destroy"]
