"""A class's policy on its page and in the API: whose each value is, and taking it back to the scenario's."""

import pytest

from appliance.catalog import Class, Event, EventKind
from appliance.scenario import policy
from tests.unit.catalog.test_policies import Greeting
from tests.unit.webui.conftest import Browser

CLASS = "/admin/classes/notebook"
PAGE = f"{CLASS}/policy"


@pytest.fixture
def notebook(grace: Browser) -> Class:
    """As the scenario has it, but for the pools and how many a person may have."""
    found: Class = Class.get_by_id("notebook")
    assert found.overrides == {"sequence": "", "buffer": 3, "maximum": 24, "per_person": 2}
    return found


def test_what_an_admin_changed_is_marked_with_the_scenarios_value(grace: Browser, notebook: Class) -> None:
    page = grace.get(PAGE).text
    assert page.count(">changed</span>") == 3
    assert '<small class="form-hint" id="c-maximum"><span class="badge bg-yellow-lt">changed</span> The scenario has 10.' in page
    assert 'id="c-lease_minutes"' not in page


def test_a_value_goes_back_to_the_scenarios(grace: Browser, notebook: Class) -> None:
    assert f'action="{CLASS}/reset/per_person" id="reset-per_person"' in grace.get(PAGE).text
    assert grace.post(f"{CLASS}/reset/per_person").headers["Location"] == PAGE
    assert Class.get_by_id("notebook").per_person == 1
    assert "reset-per_person" not in grace.get(PAGE).text
    event = Event.get(Event.kind == EventKind.CLASS_POLICY)
    assert event.message == "grace took machines per person of notebook back to the scenario's."
    assert event.data == {"before": {"per_person": 2}, "after": {"per_person": 1}}


@pytest.mark.badinput
def test_only_a_field_goes_back_and_only_by_an_admin(grace: Browser, ada: Browser, notebook: Class) -> None:
    grace.get(PAGE)
    ada.get("/")
    for key in ("enabled", "spec", "nothing"):
        assert grace.post(f"{CLASS}/reset/{key}").status_code == 404
    assert ada.post(f"{CLASS}/reset/buffer").status_code == 403
    assert Class.get_by_id("notebook").buffer == 3


def test_the_api_says_whose_each_value_is(grace: Browser, notebook: Class) -> None:
    found = grace.get("/api/v1/classes/notebook/policy").json["policy"]
    assert set(found) == {*policy.fields(), "at_once", "together_minutes"}
    assert (found["at_once"], found["together_minutes"]) == (found["burst"], found["batch_window"]), "their former names"
    assert found["buffer"] == {"value": 3, "scenario": 1, "changed": True}
    assert found["lease_minutes"] == {"value": 480, "scenario": 480, "changed": False}


def test_a_new_field_is_on_the_page_and_in_the_api(grace: Browser, notebook: Class, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(policy, "ClassPolicy", Greeting)
    page = grace.get(f"{CLASS}/life").text
    assert '<label class="form-label" for="f-greeting_minutes">Greeted for</label>' in page
    assert 'name="greeting_minutes" type="number" value="7"' in page
    assert "Minutes that a machine greets its owner." in page
    assert grace.get("/api/v1/classes/notebook/policy").json["policy"]["greeting_minutes"]["value"] == 7
