"""What the machines of a class follow, and what comes of it from the scenario and from an admin."""

import json

import pytest

from appliance import catalog
from appliance.catalog import Class, Event, Sequence, VersionState, sequences
from appliance.errors import BadInput
from appliance.scenario.policy import Form
from appliance.scenario.schema import Scenario
from appliance.services import classes
from appliance.services.scenario_adoption import adopt_scenario
from tests.unit.conftest import SPEC

NOW = {
    "sequence": "", "idle_then": "reclaim", "data_disk": 0, "burst": 1, "batch_window": 60, "idle_minutes": 0, "idle_grace": 15,
    "connect_minutes": 0,
}  # fmt: skip


@pytest.fixture
def farm(opened):
    with catalog.write():
        Sequence.create(name="farm", title="Farm")
        sequences.add("farm", "{}", VersionState.PROMOTED)
        Sequence.create(name="drafted", title="Drafted")
        sequences.add("drafted", "{}", VersionState.DRAFT)


def test_it_is_changed_and_the_record_says_from_what_to_what(small, farm, admin):
    Class.update(per_person=5).execute()
    wanted = {**NOW, "sequence": "farm", "idle_then": "suspend", "data_disk": 20, "burst": 5, "idle_minutes": 90, "connect_minutes": 30}
    classes.change_policy(admin, "small", Form.LIFE, wanted)
    machine_class = Class.get()
    assert {key: getattr(machine_class, key) for key in wanted} == wanted
    event = Event.get(Event.kind == "class.life")
    assert (event.actor, event.data["before"], event.data["after"]) == ("admin", NOW, wanted)


@pytest.mark.badinput
@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"burst": 0}, "Burst cannot be 0. It is between 1 and 1000."),
        ({"burst": 3}, r"Burst \(3\) is above machines per person \(2\). Raise that"),
        ({"idle_minutes": -1}, "Idle minutes cannot be -1"),
        ({"idle_grace": 0}, "Idle grace cannot be 0"),
        ({"data_disk": 10**9}, "Data disk cannot be"),
        ({"connect_minutes": 10**9}, "Connect minutes cannot be"),
        ({"batch_window": 0}, "Batch window cannot be 0"),
        ({"idle_then": "explode"}, "What becomes of an idle machine cannot be 'explode'. Choose reclaim or suspend."),
        ({"sequence": "nosuch"}, "There is no sequence nosuch to follow"),
        ({"sequence": "drafted"}, "There is no sequence drafted to follow"),
    ],
)
def test_what_does_not_fit_is_refused_and_changes_nothing(small, farm, admin, values, said):
    before = Class.select().dicts().get()
    with pytest.raises(BadInput, match=said):
        classes.change_policy(admin, "small", Form.LIFE, {**NOW, **values})
    assert Class.select().dicts().get() == before
    assert Event.select().where(Event.kind == "class.life").count() == 0


def _adopt(tmp_path, **more):
    spec = {**json.loads(json.dumps(SPEC)), **more}
    adopt_scenario(Scenario.model_validate({"name": "s", "title": "S", "classes": {"fresh": spec}}))
    return Class.get(Class.name == "fresh")


def test_a_new_class_has_it_from_the_scenario(farm, tmp_path):
    lease = {"minutes": 60, "idle": {"minutes": 30, "warning": 5, "then": "suspend"}, "connect": 20}
    machine_class = _adopt(tmp_path, sequence="farm", burst=2, batch_window=10, lease=lease)
    assert (machine_class.sequence, machine_class.burst, machine_class.batch_window) == ("farm", 2, 10)
    assert (machine_class.idle_minutes, machine_class.idle_grace, machine_class.idle_then, machine_class.connect_minutes) == (
        30,
        5,
        "suspend",
        20,
    )


@pytest.mark.cases
def test_a_scenario_says_when_the_end_of_a_lease_is_announced(opened, tmp_path):
    lease = {"warnings": {"first": 120, "last": 0}, "busy": 30}
    machine_class = _adopt(tmp_path, lease=lease)
    assert (machine_class.warn_first, machine_class.warn_last, machine_class.busy_grace) == (120, 0, 30)


def test_what_an_admin_changed_is_kept(farm, admin, tmp_path):
    _adopt(tmp_path, sequence="farm")
    classes.change_policy(admin, "fresh", Form.LIFE, {**NOW, "idle_minutes": 45})
    machine_class = _adopt(tmp_path, sequence="farm", burst=2)
    assert (machine_class.sequence, machine_class.idle_minutes) == ("", 45)
    assert machine_class.burst == 2  # which nobody changed: it follows the scenario


@pytest.mark.parametrize(("said", "follows"), [({}, "server"), ({"sequence": "none"}, ""), ({"sequence": "nosuch"}, "")])
def test_without_a_word_it_follows_the_one_of_its_kind(farm, tmp_path, said, follows):
    with catalog.write():
        Sequence.create(name="server", title="Server")
        sequences.add("server", "{}", VersionState.PROMOTED)
    assert _adopt(tmp_path, kind="server", **said).sequence == follows
    assert Event.select().where(Event.kind == "class.no_sequence").count() == (said.get("sequence") == "nosuch")


@pytest.mark.badinput
@pytest.mark.parametrize(("more", "said"), [({"burst": 3}, "above per_person"), ({"burst": 30, "per_person": 40}, "above policy.maximum")])
def test_a_scenario_that_gives_more_at_once_than_one_may_hold_is_refused(tmp_path, more, said):
    with pytest.raises(ValueError, match=said):
        Scenario.model_validate({"name": "s", "title": "S", "classes": {"fresh": {**SPEC, **more}}})
