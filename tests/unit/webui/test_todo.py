"""What waits for people, where a request stands, and runs: as pages and over the API."""

import html
import re
from collections.abc import Callable

import pytest
from flask import Flask

from appliance import catalog
from appliance.catalog import Actor, Request, RequestState, Run, RunState, Step, WorkItem, WorkItemState, now, runs
from appliance.identity import permissions
from appliance.services import inbox, tokens
from tests import world
from tests.unit.webui.conftest import HOST, Browser

pytestmark = pytest.mark.workflow

Open = Callable[[str], Browser]


@pytest.fixture
def asked(people: dict[str, Actor]) -> dict[str, Actor]:
    world.asking(people)
    return people


def todo() -> WorkItem:
    found: WorkItem = WorkItem.get(WorkItem.state == WorkItemState.OPEN)
    return found


def test_what_waits_is_shown_with_all_one_needs_to_decide(asked: dict[str, Actor], signed_in: Open) -> None:
    page = signed_in("mary").get("/todo/").text
    for words in ("A manager says yes", "Ada Lovelace", "Statistics studio", "4 processors", "Is it for a course?", "until", "for 1 d"):
        assert words in page
    assert 'aria-label="1 open">1<' in page
    assert "alan" not in page.split("Answered in the last month")[0].lower()
    assert "Alan Turing" in page
    assert "&lt;until June&gt;" in page
    assert "<until June>" not in page


def test_the_badge_is_for_who_is_asked_and_lives(asked: dict[str, Actor], signed_in: Open) -> None:
    ada, mary = signed_in("ada"), signed_in("mary")
    assert "nav-count" not in ada.get("/").text
    assert 'aria-current="page" hidden' in ada.get("/todo/").text  # who is never asked has no entry
    live = mary.live("/").text
    assert 'id="nav-todo"' in live
    assert 'hx-swap-oob="true"' in live
    assert mary.live("/todo/").text.count('id="nav-todo"') == 1
    mary.post(f"/todo/{todo().id}", {"answer": "yes"})
    assert "nav-count" not in mary.get("/").text


def test_a_yes_and_a_no_from_the_page(asked: dict[str, Actor], signed_in: Open) -> None:
    mary = signed_in("mary")
    mary.get("/todo/")
    first = todo()
    answer = mary.post(f"/todo/{first.id}", {"answer": "no", "comment": " "})
    assert answer.status_code == 400
    assert "Say why not" in answer.text
    answer = mary.post(f"/todo/{first.id}", {"answer": "no", "comment": "<script>x</script>" * 100})
    assert "at most 1000 characters" in answer.text
    assert html.escape("<script>x</script>") in answer.text  # nothing entered is lost
    assert "<script>x" not in answer.text
    answer = mary.post(f"/todo/{first.id}", {"answer": "perhaps"})
    assert (answer.status_code, todo().id) == (400, first.id)
    answer = mary.post(f"/todo/{first.id}", {"answer": "yes", "comment": "Welcome"})
    assert (answer.status_code, answer.location) == (303, "/todo/")
    assert "You said yes." in mary.get("/todo/").text
    answer = mary.post(f"/todo/{first.id}", {"answer": "no", "comment": "Oh no"})
    assert answer.status_code == 409
    assert "mary said yes already" in answer.text


def test_what_is_for_others_does_not_exist(asked: dict[str, Actor], signed_in: Open) -> None:
    ada = signed_in("ada")
    ada.get("/todo/")
    answer = ada.post(f"/todo/{todo().id}", {"answer": "yes"})
    assert answer.status_code == 404
    assert "There is no such to-do." in answer.text
    assert todo().state is WorkItemState.OPEN
    assert ada.post(f"/todo/{2**62}", {"answer": "yes"}).status_code == 404


def test_expired_while_it_was_open_in_the_browser(asked: dict[str, Actor], signed_in: Open) -> None:
    mary = signed_in("mary")
    mary.get("/todo/")
    WorkItem.update(expires_at=now()).where(WorkItem.state == WorkItemState.OPEN).execute()
    answer = mary.post(f"/todo/{todo().id}", {"answer": "yes"})
    assert answer.status_code == 409
    assert "its time is over" in answer.text


def test_the_page_costs_little_for_who_is_never_asked(asked: dict[str, Actor], signed_in: Open) -> None:
    assert inbox.count(asked["ada"], permissions.of(asked["ada"])) == 0
    assert not inbox.is_asked(asked["ada"], permissions.of(asked["ada"]))
    assert "People with a role such as approver are asked here." in signed_in("ada").get("/todo/").text


def test_the_portal_says_where_a_request_stands_and_who_has_it(asked: dict[str, Actor], signed_in: Open) -> None:
    ada, mary = signed_in("ada"), signed_in("mary")
    page = ada.get("/").text
    for words in ("A manager says yes:", "with Mary Somerville since", "it counts as a no", "Cancel the request", "Register the licence"):
        assert words in page
    assert "The head of IT" not in page  # its conditions do not hold
    mary.get("/todo/")
    mary.post(f"/todo/{todo().id}", {"answer": "yes"})
    world.go_on()
    assert "with Grace Hopper since" in ada.get("/").text  # nobody is an operator, so the owner
    asked_for = Request.get(Request.account == asked["ada"].account_id, Request.state == RequestState.PENDING)
    assert ada.post(f"/requests/{asked_for.id}/cancel").status_code == 303
    assert "Cancel the request" not in ada.get("/").text


def test_the_portal_says_who_refused_and_why_until_it_was_read(asked: dict[str, Actor], signed_in: Open) -> None:
    alan = signed_in("alan")
    page = alan.get("/").text
    assert "Your request was refused." in page
    assert "mary said no: All six licences are given out &lt;until June&gt;." in page
    refused = Request.get(Request.state == RequestState.REFUSED)
    assert signed_in("ada").post(f"/requests/{refused.id}/dismiss").status_code == 404
    assert alan.post(f"/requests/{refused.id}/dismiss").status_code == 303
    assert "refused" not in alan.get("/").text


def run_of(people: dict[str, Actor], name: str) -> Run:
    found: Run = Run.get(Run.account == people[name].account_id)
    return found


def test_runs_are_listed_and_found(asked: dict[str, Actor], signed_in: Open) -> None:
    grace = signed_in("grace")
    assert grace.get("/admin/workflow/runs/").text.count('class="name"') == 2
    for query, count in (
        ("state=failed", 1), ("state=live", 1), ("state=nonsense", 2), ("kind=reclaim", 0), ("text=ada", 1), ("class=notebook", 0),
        ("before=2", 1), ("text=%25", 0), ("before=99999999999999999999", 2),
    ):  # fmt: skip
        assert grace.get(f"/admin/workflow/runs/?{query}").text.count('class="name"') == count, query
    assert "No run fits." in grace.get("/admin/workflow/runs/?kind=reclaim").text
    assert signed_in("ada").get("/admin/workflow/runs/").status_code == 403


def test_a_runs_page_shows_its_steps(asked: dict[str, Actor], signed_in: Open) -> None:
    page = signed_in("grace").get(f"/runs/{run_of(asked, 'alan').id}").text
    for words in (
        "Assign studio",
        "failed",
        "A manager says yes",
        "by mary",
        "mary said no",
        "Not needed",
        "Not reached",
        "asking</a>, version 1",
        "ask again",
    ):
        assert words in page
    page = signed_in("grace").get(f"/runs/{run_of(asked, 'ada').id}").text
    for words in ("With Mary Somerville since", "To come.", "Cancel"):
        assert words in page
    assert signed_in("mary").get("/runs/99").status_code == 404


def test_who_asked_sees_their_run_without_what_came_out_of_it(asked: dict[str, Actor], signed_in: Open) -> None:
    run = run_of(asked, "ada")
    with catalog.write():
        Step.update(output={"token": "s3cret-output"}).where(Step.run == run.id).execute()
    ada = signed_in("ada")
    page = ada.get(f"/runs/{run.id}")
    assert (page.status_code, "s3cret-output" in page.text) == (200, False)
    assert "s3cret-output" in signed_in("grace").get(f"/runs/{run.id}").text
    assert ada.get(f"/runs/{run_of(asked, 'alan').id}").status_code == 404
    assert ada.post(f"/runs/{run.id}/retry").status_code == 403
    assert ada.post(f"/runs/{run.id}/cancel").status_code == 303
    world.go_on()
    assert Run.get_by_id(run.id).state is RunState.CANCELLED
    assert ada.post(f"/runs/{run.id}/cancel").status_code == 409


def test_the_api_of_todos_and_runs(app: Flask, asked: dict[str, Actor]) -> None:
    def call(name: str, method: str, path: str, scope: list[str], **sent: object):
        secret = tokens.create(asked[name], f"{name}{len(path)}{method}", scope, 1)
        return app.test_client().open(
            f"/api/v1{path}",
            method=method,
            base_url=HOST,
            headers={"Authorization": f"Bearer {secret}"},
            **({"json": sent} if sent else {}),
        )

    [waits] = call("mary", "GET", "/todos", ["read"]).json["todos"]
    assert (waits["title"], waits["requester"], waits["state"]) == ("A manager says yes", "ada", "open")
    assert call("ada", "GET", "/todos", ["read"]).json["todos"] == []
    assert call("mary", "POST", f"/todos/{waits['id']}", ["read"], answer="yes").status_code == 403
    assert call("mary", "POST", f"/todos/{waits['id']}", ["todos"], answer="maybe").status_code == 400
    assert call("mary", "POST", f"/todos/{waits['id']}", ["todos"], answer="no").status_code == 400
    assert call("ada", "POST", f"/todos/{waits['id']}", ["todos"], answer="yes").status_code == 404
    [mine] = call("ada", "GET", "/runs", ["read"]).json["runs"]
    assert (mine["kind"], mine["state"], mine["for"]) == ("assign", "waiting", "ada")
    one = call("ada", "GET", f"/runs/{mine['id']}", ["read"]).json
    assert [(step["name"], step["state"]) for step in one["steps"]] == [
        ("manager", "waiting"), ("licence", "planned"), ("large", "skipped"), ("claim", "planned"), ("hand_over", "planned"), ("welcome", "planned"),
    ]  # fmt: skip
    assert "output" not in one["steps"][0]
    answered = call("mary", "POST", f"/todos/{waits['id']}", ["todos"], answer="yes", comment="Fine")
    assert (answered.json["state"], answered.json["decided_by"], answered.json["comment"]) == ("done", "mary", "Fine")
    assert call("ada", "POST", f"/runs/{mine['id']}/cancel", ["machines"], x=1).status_code == 202
    refused = run_of(asked, "alan").id
    assert call("grace", "POST", f"/runs/{refused}/retry", ["machines"], x=1).status_code == 409
    assert call("grace", "POST", f"/runs/{refused}/skip", ["machines"], x=1).status_code == 409


def test_a_long_list_is_read_page_by_page(asked: dict[str, Actor], signed_in: Open) -> None:
    with catalog.write():
        for _ in range(60):
            runs.begin_run("make", class_name="studio")
    grace = signed_in("grace")
    page = grace.get("/admin/workflow/runs/").text
    assert page.count('class="name"') == 50
    last = min(int(one) for one in re.findall(r'/runs/(\d+)"', page))
    assert grace.get(f"/admin/workflow/runs/?before={last}").text.count('class="name"') == 12
