"""The rules of a class on their page and in the API: saved, refused with the reason, and tried on yesterday before."""

from datetime import timedelta
from typing import Any

import pytest

from appliance.catalog import Class, now, policies
from appliance.readings import Kind, Store, Subject
from appliance.settings import Settings
from tests.pages import is_at
from tests.unit.webui.conftest import Browser

pytestmark = pytest.mark.policy
PAGE = "/admin/classes/notebook/rules/"
QUEUE = {
    "name": "Queue", "command": "", "sets": "minimum", "of": "sent", "metric": "length", "statistic": "last", "minutes": "30", "each": "5", "above": "", "below": "",
    "up": "1", "down": "1", "unit": "machines", "cooldown_up": "0", "cooldown_down": "0", "least": "0", "most": "6",
}  # fmt: skip
LOAD = {**QUEUE, "name": "Load", "of": "class", "metric": "cpu", "each": "", "above": "0.8", "below": "0.2"}


def rules() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = policies.value(Class.get_by_id("notebook"), "rules")
    return found


def test_a_rule_is_previewed_saved_changed_and_deleted(grace: Browser, settings: Settings) -> None:
    at, store = now() - timedelta(hours=20), Store(settings.readings)
    for minute in range(0, 600, 10):
        store.record(at + timedelta(minutes=minute), {Subject(Kind.CLASS, "notebook", "length"): {"value": 12.0 if minute > 300 else 0.0}})
        store.thin(at + timedelta(minutes=minute + 2))
    store.close()
    grace.get(PAGE)
    shown = grace.post(f"{PAGE}preview", QUEUE)
    page = " ".join(shown.text.split())
    assert (shown.status_code, rules()) == (200, [])
    assert "What Queue would have done in the last 24 hours" in page
    assert "from 0 to 3</td>" in page
    assert "Queue: length (last) is 12, one machine for each 5" in page
    assert "&#34;machines&#34;: {&#34;mean&#34;: [0" in page
    assert 'value="length"' in page, "what was entered stays"
    assert grace.post(PAGE, QUEUE).status_code == 303
    assert grace.post(PAGE, LOAD).status_code == 303
    page = " ".join(grace.get(PAGE).text.split())
    assert "last value of length (sent): one machine for each 5" in page
    assert "mean of cpu over 30 min: at or above 0.8 add 1, at or below 0.2 remove 1" in page.replace(
        "last value of cpu", "mean of cpu over 30 min"
    )
    assert "more wins over less" in page
    assert grace.post(PAGE, {**LOAD, "key": "Load", "most": "4"}).status_code == 303
    assert [(one["name"], one["most"]) for one in rules()] == [("Queue", 6), ("Load", 4)]
    grace.post(f"{PAGE}delete", {"key": "Queue"})
    assert [one["name"] for one in rules()] == ["Load"]


@pytest.mark.badinput
@pytest.mark.parametrize(
    ("values", "field", "says"),
    [
        ({"above": "0.3"}, "", "Load would flap: 2 machines at 0.2 become 1 at 0.4, and at 0.3 machines are added."),
        ({"above": "0.2"}, "", "Load fights itself: at 0.2 it both adds and removes."),
        ({"above": "much"}, "above", "much&#39; is not a number."),
        ({"command": "sh 'open"}, "command", "a quote is not closed."),
        ({"command": "llen"}, "", "Load has a command."),
        ({"of": "command"}, "", "Load has no command."),
        ({"above": "nan"}, "above", "nan&#39; is not a number."),
        ({"metric": "No Metric"}, "metric", ""),
        ({"name": "Queue", "metric": "wait"}, "name", "There are two rules called Queue."),
    ],
)
def test_what_fights_flaps_or_cannot_be_is_refused_and_nothing_is_lost(
    grace: Browser, values: dict[str, str], field: str, says: str
) -> None:
    grace.get(PAGE)
    assert grace.post(PAGE, QUEUE).status_code == 303
    answer = grace.post(PAGE, {**LOAD, **values})
    assert answer.status_code == 400
    assert says in answer.text
    assert not field or is_at(field, answer.text)
    assert f'value="{values.get("metric", "cpu")}"' in answer.text
    assert [one["name"] for one in rules()] == ["Queue"]
