"""The id that nginx gives to a request: in the answer, in errors, in events, in the run that was begun, and in the engine's log lines about that."""

import io
import logging
from collections.abc import Iterator

import pytest
from flask import Flask

from appliance import catalog, tracing
from appliance.access import nginx
from appliance.catalog import Actor, Event, Run, events, runs
from appliance.errors import Unavailable
from appliance.services import tokens
from appliance.settings import REPOSITORY, Settings
from appliance.workflow.activities import ACTIVITIES
from appliance.workflow.runner import Handler, Runner
from tests.unit.webui.conftest import HOST, Browser

ID = "0123456789abcdef0123456789abcdef"
OTHER = ID[::-1]


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """What a process that logs as ours do writes."""
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    handler.addFilter(tracing.Told())
    handler.setFormatter(logging.Formatter("%(message)s%(request)s"))
    logging.getLogger().addHandler(handler)
    yield written
    logging.getLogger().removeHandler(handler)


def claim(app: Flask, token: str, id: str) -> int:
    headers = {"Authorization": f"Bearer {token}", tracing.HEADER: id}
    answer = app.test_client().post("/api/v1/machines", base_url=HOST, json={"class": "notebook"}, headers=headers)
    assert answer.headers.get(tracing.HEADER) == (id if id in (ID, OTHER) else None)
    return answer.status_code


def test_it_goes_from_the_door_to_the_run_and_its_log_lines(app: Flask, people: dict[str, Actor], log: io.StringIO, grace: Browser) -> None:
    token = tokens.create(people["mary"], "script", ["machines"], 7)
    before = events.last_id()
    assert claim(app, token, ID) == 201
    recorded = list(Event.select().where(Event.id > before))
    assert recorded
    assert {event.data.get("request") for event in recorded} == {ID}
    run = Run.select().order_by(Run.id.desc()).get()
    assert run.facts["request"] == ID
    assert ID in grace.get(f"/runs/{run.id}").text
    assert tracing.current.get() == "", "the thread that answered is free for the next request"

    def fails(*_: object) -> None:
        raise Unavailable("It is away.")

    runner = Runner({**ACTIVITIES, "hand_over": Handler(fails)})  # type: ignore[arg-type]
    with catalog.write():
        other = runs.begin_run("stop", class_name="notebook")
    before = events.last_id()
    runner.advance(run.id)
    assert {event.data["request"] for event in Event.select().where(Event.id > before)} <= {ID}
    assert f"hand_over: It is away. request={ID}\n" in log.getvalue()
    runner.begin(other)
    assert tracing.current.get() == "", "another run on the same thread is not of that request"


@pytest.mark.badinput
@pytest.mark.parametrize("id", ["", "x", ID.upper(), f"{ID}0", 'a" b', "A" * 32])
def test_what_nginx_did_not_make_is_no_id(app: Flask, people: dict[str, Actor], id: str) -> None:
    token = tokens.create(people["mary"], "script", ["machines"], 7)
    before = events.last_id()
    assert claim(app, token, id) == 201
    assert [event.data.get("request") for event in Event.select().where(Event.id > before)] == [None] * (events.last_id() - before)


def test_an_error_says_it(app: Flask, people: dict[str, Actor], grace: Browser) -> None:
    token = tokens.create(people["mary"], "script", ["machines"], 7)
    headers = {"Authorization": f"Bearer {token}", tracing.HEADER: ID}
    answer = app.test_client().post("/api/v1/machines", base_url=HOST, json={"class": "nothing"}, headers=headers)
    assert answer.json is not None
    assert (answer.status_code, answer.json["request_id"]) == (404, ID)


def test_the_front_door_gives_it_and_writes_it_down(settings: Settings) -> None:
    written = nginx.configuration(settings, REPOSITORY, settings.state / "c", settings.state / "k", (1, 26, 0))
    assert f"proxy_set_header {tracing.HEADER} $request_id;" in written
    assert "$request_time $request_id" in written
    assert "$http_x_request_id" not in written, "whatever a client says of itself is not passed on"
