"""A person's own page."""

import json
import re
from collections.abc import Callable
from datetime import timedelta

import pytest
from flask import Flask

from appliance import catalog
from appliance.catalog import (
    Actor,
    Class,
    Lease,
    Machine,
    MachineState,
    Request,
    RequestState,
    Seed,
    Sequence,
    VersionState,
    now,
    sequences,
)
from appliance.services import machines
from tests.unit.webui.conftest import Browser
from webui import format


def test_the_button_says_how_many_are_ready(ada: Browser) -> None:
    page = ada.get("/").text
    assert "Get a notebook<small>3 ready, yours at once</small>" in page
    assert "Get in line for a statistics studio<small>None is ready; about" in page
    assert "you will be number 2</small>" in page


def test_the_button_says_what_comes_first(ada: Browser) -> None:
    moves = {"assign": {"before": [{"name": "boss", "kind": "approval", "title": "The boss says yes"}]}}
    with catalog.write():
        Sequence.create(name="asked", title="Asked")
        sequences.add("asked", json.dumps(moves), VersionState.PROMOTED)
        Class.update(sequence="asked").where(Class.name == "notebook").execute()
    page = ada.get("/").text
    assert "Ask for a notebook<small>First: The boss says yes</small>" in page
    assert "ready, yours at once" not in page


def test_nothing_is_promised_when_nothing_is_known(ada: Browser) -> None:
    Machine.update(ready_at=None).execute()
    assert "None is ready; you will be number 2" in ada.get("/").text


def test_a_ready_machine_is_theirs_at_once(ada: Browser, people: dict[str, Actor]) -> None:
    answer = ada.post("/request", {"class": "notebook"})
    assert (answer.status_code, answer.headers["Location"]) == (303, "/")
    assert "Set-Cookie" not in answer.headers
    assert Machine.select().where(Machine.owner == people["ada"].account_id).count() == 2
    assert "assigned" in ada.get("/").text


def test_who_waits_sees_their_place_and_may_stop(ada: Browser, people: dict[str, Actor]) -> None:
    ada.post("/request", {"class": "studio"})
    page = ada.get("/").text
    assert "You are number 2 in the queue." in page
    assert "starting" in page
    request = Request.get(Request.account == people["ada"].account_id)
    assert ada.post(f"/requests/{request.id}/cancel").headers["Location"] == "/"
    assert Request.get_by_id(request.id).state is RequestState.CANCELLED
    assert ada.post(f"/requests/{request.id}/cancel").status_code == 404


@pytest.mark.badinput
@pytest.mark.parametrize(("name", "status"), [("nothing", 404), ("", 404), ("studio\x00", 404), ("notebook", 409)])
def test_what_cannot_be_had(ada: Browser, name: str, status: int) -> None:
    ada.post("/request", {"class": "notebook"})
    answer = ada.post("/request", {"class": name})
    assert answer.status_code == status


def test_open_leads_to_the_machines_own_port(ada: Browser, people: dict[str, Actor]) -> None:
    machine = Machine.get(Machine.owner == people["ada"].account_id)
    page = ada.get("/").text
    assert f'href="https://appliance.test:{9000 + machine.slot}/lab" target="_blank" rel="noopener"' in page


def test_a_machine_that_is_handed_over_cannot_be_opened_yet(ada: Browser) -> None:
    Machine.update(state=MachineState.ASSIGNED, step="setting the host name").execute()
    page = ada.get("/").text
    assert 'target="_blank"' not in page
    assert "setting the host name" in page


def test_extending(ada: Browser, people: dict[str, Actor]) -> None:
    machine = Machine.get(Machine.owner == people["ada"].account_id)
    assert "can be extended 3 times, by 4 h each" in ada.get("/").text
    before = Lease.get(Lease.machine == machine.id).ends_at
    assert ada.post(f"/machines/{machine.id}/extend").status_code == 303
    assert Lease.get(Lease.machine == machine.id).ends_at - before == timedelta(hours=4)
    page = ada.get("/").text
    assert "can be extended 2 times" in page
    assert "Extended: it is held for another 11 h" in page


@pytest.mark.badinput
def test_extending_too_often(ada: Browser, people: dict[str, Actor]) -> None:
    machine = Machine.get(Machine.owner == people["ada"].account_id)
    Lease.update(extensions=3).where(Lease.machine == machine.id).execute()
    assert "cannot be extended any more" in ada.get("/").text
    assert ada.post(f"/machines/{machine.id}/extend").status_code == 409


def test_the_last_half_hour_stands_out(signed_in: Callable[[str], Browser]) -> None:
    assert "ends-soon" in signed_in("alan").get("/").text
    assert "ends-soon" not in signed_in("ada").get("/").text


def test_giving_back_asks_first_and_then_does(ada: Browser, people: dict[str, Actor]) -> None:
    machine = Machine.get(Machine.owner == people["ada"].account_id)
    page = ada.get("/").text
    assert 'data-confirm="The machine and everything on it is destroyed.' in page
    assert ada.post(f"/machines/{machine.id}/release").status_code == 303
    assert Machine.get(Machine.id == machine.id).state is MachineState.RECLAIMING
    page = ada.get("/").text
    assert f"{machine.name} is given back and will be destroyed." in page
    assert "My machines</h2>" not in page


def test_refusals_are_said_before_the_button_is_pressed(ada: Browser) -> None:
    Class.update(per_person=1).execute()
    assert "You hold 1 of 1 already." in ada.get("/").text
    Seed.update(promoted=False).execute()
    assert "still being prepared" in ada.get("/").text


def test_nothing_on_offer(ada: Browser) -> None:
    Class.update(enabled=False).execute()
    assert "Nothing is offered at the moment" in ada.get("/").text


def test_titles_are_text(ada: Browser) -> None:
    machine_class = Class.get_by_id("notebook")
    machine_class.spec = {**machine_class.spec, "title": "<b>Bold</b>", "description": "<script>alert(1)</script>"}
    with catalog.write():
        machine_class.save()
    page = ada.get("/").text
    assert "&lt;b&gt;" in page
    assert "<script>alert" not in page


def test_an_engine_that_is_gone_is_told(ada: Browser) -> None:
    catalog.Engine.update(seen_at=now() - timedelta(minutes=5)).execute()
    assert "not making new machines at the moment" in ada.get("/").text


@pytest.mark.parametrize(
    ("trouble", "words"),
    [({"problem": "qemu: secret path"}, "New ones do not come up"), ({"limit_reason": "the host's memory"}, "The appliance is full")],
)
def test_why_nothing_comes_soon_in_words_for_people(signed_in: Callable[[str], Browser], trouble: dict[str, str], words: str) -> None:
    Class.update(**trouble).where(Class.name == "studio").execute()
    page = signed_in("ada").get("/").text
    assert words in page
    assert "secret path" not in page


def _several(people: dict[str, Actor], count: int = 3) -> Request:
    Class.update(burst=5, per_person=9).where(Class.name == "notebook").execute()
    return machines.request(people["ada"], "notebook", count)


def test_a_class_that_gives_several_at_once_asks_how_many(ada: Browser, people: dict[str, Actor]) -> None:
    assert "How many at once" not in ada.get("/").text
    Class.update(burst=5, per_person=9).where(Class.name == "notebook").execute()
    assert 'type="number" name="count" value="1" min="1" max="5"' in ada.get("/").text
    assert ada.post("/request", {"class": "notebook", "count": "3"}).status_code == 303
    page = ada.get("/").text
    assert "0 of 3 are ready" in page
    assert "Give all 3 back" in page
    Machine.update(state=MachineState.IN_USE).execute()
    page = ada.get("/").text
    assert "All 3 are ready" in page
    assert "You hold 4 machines." in page


def test_who_waits_for_several_sees_how_many_are_there(ada: Browser, people: dict[str, Actor]) -> None:
    first = _several(people, 5)
    page = ada.get("/").text
    assert "You asked for 5 at once, and get all of them together: <strong>3 of 5 are ready</strong>" in page
    assert ada.post(f"/requests/{first.id}/cancel").status_code == 303
    assert "How many at once" in ada.get("/").text


def test_all_are_extended_and_given_back_with_one_button(ada: Browser, people: dict[str, Actor]) -> None:
    first = _several(people)
    assert ada.post(f"/batches/{first.id}/extend").status_code == 303
    assert "Extended: 3 are held for another 11 h 59 min." in ada.get("/").text
    assert ada.post(f"/batches/{first.id}/release").status_code == 303
    page = ada.get("/").text
    assert "3 machines are given back and will be destroyed." in page
    assert "You hold 1 machine." in page
    assert ada.post(f"/batches/{first.id}/release").status_code == 404


@pytest.mark.badinput
@pytest.mark.parametrize("count", ["", "x", "-1", "0", "6", "1.5", "9" * 40, "²"])
def test_a_number_that_is_none(ada: Browser, people: dict[str, Actor], count: str) -> None:
    Class.update(burst=5, per_person=9).where(Class.name == "notebook").execute()
    before = Request.select().count()
    assert ada.post("/request", {"class": "notebook", "count": count}).status_code == 400
    assert Request.select().count() == before


def test_who_is_warned_that_nobody_uses_it_may_say_that_they_do(ada: Browser, people: dict[str, Actor]) -> None:
    Class.update(idle_minutes=60, idle_grace=15).execute()
    assert "Nobody seems to use it" not in ada.get("/").text
    machine = Machine.get(Machine.owner == people["ada"].account_id)
    Lease.update(idle_warned_at=now() - timedelta(minutes=5)).where(Lease.machine == machine.id).execute()
    page = ada.get("/").text
    assert "Nobody seems to use it.</strong> It is taken back, with everything on it, in" in page
    assert ada.post(f"/machines/{machine.id}/still-here").status_code == 303
    assert "Nobody seems to use it" not in ada.get("/").text
    other = Machine.get(Machine.owner == people["mary"].account_id)
    assert ada.post(f"/machines/{other.id}/still-here").status_code == 404


@pytest.mark.cases
def test_a_time_of_a_day_that_is_clear_names_no_day_also_over_midnight(app: Flask) -> None:
    tomorrow = now() + timedelta(days=1)
    with app.test_request_context():
        assert re.fullmatch(r"\d\d:\d\d", format.hour(tomorrow))
        assert re.search(r"\w{3} \d+ \w{3}, \d\d:\d\d", format.clock(tomorrow))


def test_the_end_of_a_lease_is_told_on_the_page_and_by_the_browser(ada: Browser, people: dict[str, Actor]) -> None:
    machine = Machine.get(Machine.owner == people["ada"].account_id)
    Lease.update(began_at=now() - timedelta(hours=8), ends_at=now() + timedelta(hours=2), extensions=0).execute()
    Class.update(extensions=1, extend_minutes=60).execute()
    assert "Its lease ends in" not in ada.get("/").text
    Lease.update(ends_at=now() + timedelta(minutes=40)).execute()
    page = ada.get("/").text
    assert "Its lease ends in" in page
    assert "Extend it if you need it longer." in page
    assert re.search(rf'data-soon="{machine.name}: the lease ends at \d\d:\d\d"', page)
    Lease.update(extensions=1).execute()
    assert "It cannot be extended any more" in ada.get("/").text
    Lease.update(kept_until=now() + timedelta(minutes=30)).execute()
    assert "It is kept because it is busy, until" in ada.get("/").text


def test_who_has_to_open_it_in_time_is_told_so(ada: Browser, people: dict[str, Actor]) -> None:
    machine = Machine.get(Machine.owner == people["ada"].account_id)
    Class.update(connect_minutes=30).execute()
    Lease.update(began_at=now()).execute()
    Machine.update(state_since=now()).execute()
    assert "or it is taken back" in ada.get("/").text
    Lease.update(opened_at=now()).where(Lease.machine == machine.id).execute()
    assert "or it is taken back" not in ada.get("/").text
