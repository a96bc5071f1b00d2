"""The page of a class's forecast: advice in words, misses, and what another policy would come to."""

import re
import time
from collections.abc import Iterator
from datetime import UTC, timedelta

import pytest

from appliance import catalog
from appliance.catalog import Account, Actor, Class, Request, RequestState, now, timezone
from appliance.pools.generated import Numbers
from appliance.scenario.policy import Form
from appliance.services import classes, forecasts
from tests.pages import is_at
from tests.unit.webui.conftest import Browser

pytestmark = pytest.mark.policy
PAGE = "/admin/classes/notebook/forecast/"
TRIED = {"buffer": "20", "minimum": "0", "maximum": "40", "demand": "school", "hourly": "4", "course": "12"}


@pytest.fixture
def known(grace: Browser) -> Iterator[None]:
    """Twelve people at noon on each of the last eight Mondays, of whom one had to wait, and what the engine kept of that."""
    account, zone = Account.get(), timezone.current()
    today = now().astimezone(zone)
    this = (today - timedelta(days=today.weekday())).replace(hour=12, minute=0, second=0, microsecond=0)
    with catalog.write():
        for number in range(8 * 12):
            at = (this - timedelta(weeks=1 + number // 12)).astimezone(UTC) + timedelta(seconds=number % 12)
            hit = number != 0
            granted = at if hit else at + timedelta(seconds=45)
            Request.create(
                account=account, machine_class="notebook", state=RequestState.GRANTED, hit=hit, created_at=at, granted_at=granted
            )
        Class.update(
            forecast={
                "key": {"week": 1, "level": 99, "forked": False}, "numbers": [0] * 335 + [12] + [1] * 336, "fixed": 11, "is_fixed": False, "weeks": 7,
                "met": 0.995, "hours": 30.0, "fixed_met": 0.991, "fixed_hours": 1848.0, "times": [30.0], "at_once": 2,
            }
        ).where(Class.name == "notebook").execute()  # fmt: skip
    return


def test_it_says_in_words_what_is_forecast_how_often_it_ran_dry_and_who_had_to_wait(grace: Browser, known: None) -> None:
    page = " ".join(grace.get(PAGE).text.split())
    assert "It <strong>only advises</strong>, until you let it act" in page
    assert "<strong>Keep from 0 to 12 ready.</strong> In the last 7 weeks that would have met 99.5 of 100 requests at once" in page
    assert "The best fixed number, 11, takes 1848." in page
    assert "in 8 of the last 8 Mondays" in page
    assert "in none of the last 8 Tuesdays" in page
    assert '<td data-label="Waited">45 s</td>' in page


def test_a_fixed_number_is_said_to_be_better_for_what_is_forked(grace: Browser, known: None) -> None:
    found = Class.get_by_id("notebook").forecast
    Class.update(forecast={**found, "key": {**found["key"], "forked": True}, "is_fixed": True, "fixed": 2}).where(
        Class.name == "notebook"
    ).execute()
    page = " ".join(grace.get(PAGE).text.split())
    assert "A fixed number is better: keep 2 ready." in page
    assert "machines are forked so fast" in page


def test_nothing_is_promised_before_enough_is_known(grace: Browser) -> None:
    assert "Too little is known yet" in grace.get(PAGE).text


def test_what_if_has_another_policy_beside_todays_and_changes_nothing(grace: Browser, known: None) -> None:
    before = Class.get_by_id("notebook").overrides
    grace.get(PAGE)
    answer = grace.post(f"{PAGE}what-if", TRIED)
    page = " ".join(answer.text.split())
    assert answer.status_code == 200
    assert "<strong>Today</strong>" in page
    assert "<strong>Tried</strong>" in page
    assert "requests in 52 weeks, replayed by the planner itself" in page
    for label in ("Today", "Tried"):
        shares = [
            float(one)
            for one in re.findall(rf'data-label="{label}"><span class="share">([\d.]+) %', page.partition("would have waited")[2])
        ]
        assert len(shares) == 7
        assert sum(shares) == pytest.approx(100, abs=0.4)
    assert Class.get_by_id("notebook").overrides == before
    assert "requests in 8 weeks" in " ".join(grace.post(f"{PAGE}what-if", {**TRIED, "demand": "recorded"}).text.split())


@pytest.mark.badinput
def test_what_if_refuses_what_does_not_fit_at_its_field(grace: Browser) -> None:
    grace.get(PAGE)
    answer = grace.post(f"{PAGE}what-if", {**TRIED, "maximum": "10"})
    assert (answer.status_code, is_at("maximum", answer.text)) == (400, True)
    answer = grace.post(f"{PAGE}what-if", {**TRIED, "demand": "recorded"})
    assert (answer.status_code, is_at("demand", answer.text)) == (400, True)


def test_a_year_of_another_policy_takes_less_than_a_second(grace: Browser, known: None) -> None:
    begun = time.process_time()
    values = {"buffer": 15, "minimum": 0, "maximum": 80, "forecast_acts": False}
    found = forecasts.what_if(classes.get_class("notebook"), values, "school", Numbers(12, 25))
    assert time.process_time() - begun < 1
    assert found.today.asked > 10_000
    assert found.tried.level > found.today.level
    assert found.tried.hours > found.today.hours


def test_where_it_acts_the_calendar_says_that_the_number_is_the_forecasts(grace: Browser, known: None) -> None:
    classes.change_policy(Actor("grace"), "notebook", Form.POLICY, {"forecast_acts": True})
    assert "It <strong>acts</strong>, in place of the buffer" in grace.get(PAGE).text
    page = " ".join(grace.get("/admin/classes/notebook/calendar/").text.split())
    assert re.search(r'<dt>Ready and waiting</dt><dd>\d+<small class="form-hint">Forecast</small>', page)
    assert 'class="q4 band' not in page, "the week shows windows and one-offs, not each quarter of an hour"
