"""The calendar of a class on its page and in the API, and holidays in the settings."""

from datetime import timedelta
from typing import Any

import pytest

from appliance import catalog
from appliance.catalog import Class, options
from tests.pages import is_at
from tests.unit.webui.conftest import Browser
from webui.admin.calendar import days_in_words

pytestmark = pytest.mark.policy
PAGE = "/admin/classes/notebook/calendar/"
LESSONS = {
    "name": "Lessons",
    "days": ["mon", "tue", "wed"],
    "begin": "08:00",
    "end": "16:30",
    "holidays": "not",
    "start": "12",
    "buffer": "5",
}
EXAM = {"name": "Exam", "day": "2026-12-03", "begin": "09:00", "end": "12:00", "start": "60", "week": "2026-12-01"}


def add(browser: Browser, kind: str = "window", **values: Any) -> Any:
    browser.get(PAGE)
    return browser.post(f"{PAGE}{kind}", {**(LESSONS if kind == "window" else EXAM), **values})


def test_a_one_off_is_added_and_seen_in_its_week_with_its_numbers(grace: Browser) -> None:
    answer = add(grace, "one-off")
    assert (answer.status_code, answer.headers["Location"]) == (303, f"{PAGE}?week=2026-12-01")
    page = grace.get(f"{PAGE}?week=2026-12-01").text
    assert "30 Nov to 6 Dec 2026" in page
    assert 'title="09:00 to 12:00, Exam: 60 ready at the start, 3 ready, at most 84"' in page
    assert "Thu 3 Dec 2026</a>, 09:00 to 12:00" in page
    assert "ready when it begins +60" in page
    assert Class.get_by_id("notebook").one_offs[0]["start"] == 60


def test_a_window_is_added_changed_moved_and_deleted(grace: Browser) -> None:
    assert add(grace).status_code == 303
    assert add(grace, name="Night", begin="22:00", end="06:00", days=["sat"], start="", buffer="0").status_code == 303
    page = grace.get(PAGE).text
    assert "Mon to Wed, 08:00 to 16:30" in page
    assert "Sat, 22:00 to 06:00 of the day after" in page
    assert "ready when it begins 12, ready 5" in page
    grace.post(f"{PAGE}move", {"key": "Night"})
    assert [one["name"] for one in Class.get_by_id("notebook").windows] == ["Night", "Lessons"]
    form = grace.get(f"{PAGE}?window=Lessons").text
    assert "Change Lessons" in form
    assert 'name="begin" type="time" value="08:00"' in form
    grace.post(f"{PAGE}window", {**LESSONS, "key": "Lessons", "maximum": "30"})
    assert [one["maximum"] for one in Class.get_by_id("notebook").windows] == [None, 30]
    assert 'data-confirm-title="Delete Night?"' in grace.get(PAGE).text
    grace.post(f"{PAGE}delete", {"key": "Night", "once": "no"})
    assert [one["name"] for one in Class.get_by_id("notebook").windows] == ["Lessons"]


@pytest.mark.resources
def test_a_window_says_how_fast_the_network_of_each_machine_is(grace: Browser) -> None:
    assert add(grace, start="", buffer="", minimum="", maximum="", network="0").status_code == 303
    assert [one["network"] for one in Class.get_by_id("notebook").windows] == [0]
    assert "network without limit" in grace.get(PAGE).text
    assert 'name="network" type="number" value="0"' in grace.get(f"{PAGE}?window=Lessons").text
    assert add(grace, name="Fast", network="100001").status_code == 400


def test_a_window_names_a_service_level_in_place_of_a_buffer(grace: Browser) -> None:
    assert add(grace, start="", buffer="", service_level="90").status_code == 303
    assert [one["service_level"] for one in Class.get_by_id("notebook").windows] == [90]
    assert "90 of 100 requests met at once" in " ".join(grace.get(PAGE).text.split())
    assert 'name="service_level" type="number" value="90"' in grace.get(f"{PAGE}?window=Lessons").text


@pytest.mark.badinput
@pytest.mark.parametrize(
    ("values", "field", "says"),
    [
        ({"days": []}, "w-days", "Days: choose at least one day."),
        ({"begin": "late"}, "w-begin", "late&#39; is not a time of day."),
        ({"start": "1000"}, "w-start", "Start (1000) of Lessons is above the class&#39;s maximum (24)."),
        ({"start": "", "buffer": ""}, "", "Lessons changes nothing."),
        ({"service_level": "90"}, "", "Lessons says a buffer and a service level."),
        ({"buffer": "", "service_level": "100"}, "w-service_level", "less than or equal to 99"),
        ({"buffer": "-1"}, "w-buffer", "is not a number."),
        ({"holidays": "often"}, "w-holidays", "is not one of the choices."),
        ({"name": ""}, "w-name", ""),
    ],
)
def test_what_cannot_be_is_told_at_its_field_and_nothing_is_lost(grace: Browser, values: dict[str, Any], field: str, says: str) -> None:
    answer = add(grace, **values)
    assert answer.status_code == 400
    assert says in answer.text
    if field:
        assert f'id="e-{field}"' in answer.text
    assert 'value="16:30"' in answer.text, "what was typed is there again"
    assert Class.get_by_id("notebook").windows == []


def test_a_click_on_an_hour_begins_a_window_or_a_one_off_there(grace: Browser) -> None:
    page = grace.get(PAGE + "?week=2026-12-01").text
    assert f'href="{PAGE}?on=2026-12-03&amp;at=09:00#window"' in page
    page = grace.get(f"{PAGE}?week=2026-11-30&on=2026-12-03&at=23:00").text
    assert 'name="begin" type="time" value="23:00"' in page
    assert 'name="end" type="time" value="00:00"' in page
    assert 'name="day" type="date" value="2026-12-03"' in page
    assert 'value="thu" checked' in page or 'value="thu" aria-describedby' in page or page.count(" checked") >= 1
    assert f'href="{PAGE}?on=2027-01-06&amp;at=09:00#window"' in grace.get(f"{PAGE}?on=2027-01-04&at=10:00").text, "in the week of that day"
    for nonsense in ("week=nonsense", "week=0001-01-01", "on=2026-12-03&at=99:00", "on=x&at=y", "window=nothing"):
        assert grace.get(f"{PAGE}?{nonsense}").status_code == 200


def test_what_the_clock_makes_of_a_window_and_holidays_are_said(grace: Browser) -> None:
    with catalog.write():
        options.put("time_zone", "Europe/Berlin")
        options.put("holidays", {"country": "DE", "part": "", "own": {"2027-03-23": "Closed"}, "without": []})
    add(grace, name="Backup", begin="02:00", end="03:00", days=["sun"])
    page = grace.get(PAGE + "?week=2027-03-28").text
    assert "it does not occur, as the clock goes from 02:00 to 03:00" in page or "instead of 1 h" in page
    assert "The clock goes forward, 02:00 to 03:00" in page
    assert "Holiday: Closed" in page
    assert "Holiday: Good Friday" in page


def test_the_class_s_page_says_what_holds_and_where_it_comes_from(grace: Browser) -> None:
    begins = catalog.now() - timedelta(minutes=1)
    ends = begins + timedelta(hours=5)
    values = {"day": begins.date().isoformat(), "begin": f"{begins:%H:%M}", "end": f"{ends:%H:%M}", "start": "7", "buffer": "2"}
    assert add(grace, "one-off", **values).status_code == 303
    page = grace.get("/admin/classes/notebook").text
    assert "3 of the policy and 2 of Exam" in page
    assert "<dt>Maximum</dt><dd>31<" in page
    assert "of at most 31" in page
    assert f'href="{PAGE}"' in page


def test_who_may_only_look_sees_the_week_and_no_forms(grace: Browser, ada: Browser) -> None:
    add(grace)
    assert ada.get(PAGE).status_code == 403
    assert ada.post(f"{PAGE}window", LESSONS).status_code == 403


def test_the_api_has_what_holds_and_the_calendar(grace: Browser) -> None:
    add(grace)
    policy = grace.get("/api/v1/classes/notebook/policy").json["policy"]
    assert policy["windows"]["changed"] is True
    assert policy["windows"]["value"][0]["begin"] == "08:00"
    found = grace.get("/api/v1/classes/notebook/calendar").json
    assert set(found) == {"now", "next", "prepares"}
    assert set(found["now"]) == {"minimum", "maximum", "buffer", "start"}
    assert found["now"]["maximum"] == {"machines": 24, "parts": [{"of": "policy", "machines": 24}]}
    assert found["next"]["at"]


def test_the_calendar_goes_back_to_the_scenario_s(grace: Browser) -> None:
    add(grace)
    assert "The scenario has none." in grace.get(PAGE).text
    assert grace.post("/admin/classes/notebook/reset/windows").headers["Location"] == PAGE
    assert Class.get_by_id("notebook").windows == []


def test_holidays_are_chosen_in_the_settings(grace: Browser) -> None:
    grace.get("/admin/settings/")
    chosen = {"country": "DE", "part": "", "own": "2099-12-24 Closed\n\n2099-12-31", "without": "2026-10-03"}
    assert grace.post("/admin/settings/holidays", chosen).status_code == 303
    page = grace.get("/admin/settings/").text
    assert '<option value="BY">' in page
    assert "Christmas Day" in page
    assert "2099-12-24 Closed" in page
    assert grace.post("/admin/settings/holidays", {**chosen, "part": "BY"}).status_code == 303
    assert options.get("holidays") == {
        "country": "DE", "part": "BY", "own": {"2099-12-24": "Closed", "2099-12-31": "Holiday"}, "without": ["2026-10-03"]
    }  # fmt: skip


@pytest.mark.badinput
def test_a_line_that_is_no_day_is_told_at_its_field(grace: Browser) -> None:
    grace.get("/admin/settings/")
    answer = grace.post("/admin/settings/holidays", {"country": "", "part": "", "own": "Christmas", "without": ""})
    assert answer.status_code == 400
    assert "does not begin with a day like 2026-12-24" in answer.text
    assert is_at("own", answer.text)
    assert options.get("holidays") == {}


@pytest.mark.parametrize(
    ("days", "said"),
    [(("mon", "tue", "wed"), "Mon to Wed"), (("mon", "wed"), "Mon, Wed"), (("sun",), "Sun"),
     (("sun", "sat", "fri", "thu", "wed", "tue", "mon"), "every day"), (("sat", "sun"), "Sat, Sun")],
)  # fmt: skip
def test_days_in_words(days: tuple[str, ...], said: str) -> None:
    assert days_in_words(days) == said
