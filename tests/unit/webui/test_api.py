"""The REST API: who gets in with a token, what it may do, and how errors look to a program."""

import re
from collections.abc import Callable
from datetime import timedelta

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from appliance import catalog
from appliance.catalog import Account, Actor, Class, Event, Lease, Machine, MachineState, Token, now
from appliance.services import tokens
from appliance.settings import REPOSITORY
from tests.plans import statements
from tests.unit.webui.conftest import HOST, Browser

Call = Callable[..., TestResponse]


@pytest.fixture
def call(app: Flask, people: dict[str, Actor]) -> Call:
    """Ask the API as ada's program: `call("GET", "/me")`."""
    token = tokens.create(people["ada"], "script", ["read", "machines"], 7)

    def ask(method: str, path: str, *, bearer: str = token, json: object = None) -> TestResponse:
        return app.test_client().open(
            f"/api/v1{path}", method=method, base_url=HOST, json=json, headers={"Authorization": f"Bearer {bearer}"}
        )

    return ask


def test_who_am_i(call: Call) -> None:
    answer = call("GET", "/me")
    assert answer.json == {"name": "ada", "full_name": "Ada Lovelace", "email": "ada@example.org"}
    assert Token.get().used_at is not None


def test_a_machine_from_wish_to_end(call: Call, people: dict[str, Actor]) -> None:
    offered = {one["name"]: one for one in call("GET", "/classes").json["classes"]}  # type: ignore[index]
    assert offered["notebook"]["ready"] == 3
    made = call("POST", "/machines", json={"class": "notebook"})
    assert made.status_code == 201
    assert made.json is not None
    assert made.headers["Location"] == made.json["self"]
    assert made.json["state"] == "assigned"
    lease = Lease.get(Lease.machine == made.json["id"]).ends_at.isoformat(timespec="seconds")
    assert made.json["lease_ends_at"] == call("GET", f"/machines/{made.json['id']}").json["lease_ends_at"] == lease  # type: ignore[index]
    listed = call("GET", "/machines").json
    assert listed is not None
    assert made.json["id"] in [machine["id"] for machine in listed["machines"]]
    assert all(machine["lease_ends_at"] for machine in listed["machines"])
    extended = call("POST", f"/machines/{made.json['id']}/extend").json
    assert extended is not None
    assert Lease.get(Lease.machine == made.json["id"]).ends_at.isoformat(timespec="seconds") == extended["lease_ends_at"]
    assert call("POST", f"/machines/{made.json['id']}/release").status_code == 202
    assert Machine.get(Machine.id == made.json["id"]).state is MachineState.RECLAIMING
    assert Event.get(Event.kind == "machine.assigned", Event.machine_id == made.json["id"]).actor == "ada"


def test_who_has_to_wait_is_told_so(call: Call) -> None:
    answer = call("POST", "/machines", json={"class": "studio"})
    assert answer.status_code == 202
    assert answer.json is not None
    assert answer.json["state"] == "waiting"


def test_several_at_once(call: Call) -> None:
    Class.update(burst=5, per_person=9).execute()
    made = call("POST", "/machines", json={"class": "notebook", "count": 2})
    assert made.status_code == 201
    assert made.json is not None
    assert len({machine["id"] for machine in made.json["machines"]}) == 2
    assert call("POST", "/machines", json={"class": "notebook", "count": 2}).status_code == 202, "one is ready"
    listed = call("GET", "/classes").json
    assert listed is not None
    assert {one["name"]: one["burst"] for one in listed["classes"]} == {"notebook": 4, "studio": 5}, "of nine, five are theirs"
    assert [one["at_once"] for one in listed["classes"]] == [one["burst"] for one in listed["classes"]], "its former name"


def test_a_list_asks_no_more_the_more_machines_there_are(call: Call, people: dict[str, Actor], monkeypatch: pytest.MonkeyPatch) -> None:
    """What a program polls: their classes are asked for once."""
    asked = []
    for more in (0, 3):
        for machine in Machine.select().where(Machine.state == MachineState.READY, Machine.machine_class == "notebook").limit(more):
            Machine.update(state=MachineState.IN_USE, owner=people["ada"].account_id).where(Machine.number == machine.number).execute()
            Lease.create(machine=machine.id, account=people["ada"].account_id, began_at=now(), ends_at=now() + timedelta(hours=1))
        call("GET", "/machines")
        with statements(monkeypatch) as seen:
            found = call("GET", "/machines").json
        assert found is not None
        asked.append((len(found["machines"]), len(seen)))
    (few, first), (many, second) = asked
    assert (many, second) == (few + 3, first)


@pytest.mark.badinput
@pytest.mark.parametrize("count", ["", "x", None, 1.5, True, [], 6, 0, -1])
def test_a_number_that_is_none(call: Call, count: object) -> None:
    Class.update(burst=5, per_person=9).execute()
    assert call("POST", "/machines", json={"class": "notebook", "count": count}).status_code == 400


@pytest.mark.badinput
@pytest.mark.parametrize("bearer", ["", "x", "dpe_nothing", "dpe_" + "x" * 10_000])
def test_a_wrong_token_is_nobody(call: Call, bearer: str) -> None:
    answer = call("GET", "/me", bearer=bearer)
    assert answer.status_code == 401
    assert answer.mimetype == "application/problem+json"
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert answer.json is not None
    assert answer.json["status"] == 401


def test_an_expired_token_is_nobody(call: Call) -> None:
    with catalog.write():
        Token.update(expires_at=now() - timedelta(seconds=1)).execute()
    assert call("GET", "/me").status_code == 401


@pytest.mark.revoked
def test_a_token_that_was_ended_or_whose_account_was_disabled_is_nobody(call: Call, people: dict[str, Actor]) -> None:
    who = people["ada"]
    assert who.account_id is not None
    other = tokens.create(who, "other", ["read"], 7)
    tokens.end_token(who, who.account_id, Token.get(Token.name == "script").id)
    assert (call("GET", "/me").status_code, call("GET", "/me", bearer=other).status_code) == (401, 200)
    Account.update(disabled=True).where(Account.id == who.account_id).execute()
    assert call("GET", "/me", bearer=other).status_code == 401


@pytest.mark.badinput
@pytest.mark.parametrize(("off", "status"), [(timedelta(hours=1), 401), (timedelta(hours=-1), 200)])
def test_a_token_that_was_made_while_the_clock_was_off_by_an_hour(call: Call, off: timedelta, status: int) -> None:
    """One of a time that is still to come is good from then on."""
    with catalog.write():
        Token.update(created_at=now() + off).execute()
    assert call("GET", "/me").status_code == status


def test_a_token_does_no_more_than_its_scope(call: Call, people: dict[str, Actor]) -> None:
    reader = tokens.create(people["ada"], "reader", ["read"], 7)
    assert call("GET", "/machines", bearer=reader).status_code == 200
    mine = Machine.get(Machine.owner == people["ada"].account_id)
    for path, json in (("/machines", {"class": "notebook"}), (f"/machines/{mine.id}/extend", None), (f"/machines/{mine.id}/release", None)):
        answer = call("POST", path, bearer=reader, json=json)
        assert answer.status_code == 403
        assert answer.json is not None
        assert "not good for this" in answer.json["title"]
    assert Machine.get(Machine.id == mine.id).state is MachineState.IN_USE


def test_a_token_is_good_for_the_api_alone(app: Flask, people: dict[str, Actor]) -> None:
    token = tokens.create(people["grace"], "script", ["read", "machines"], 7)
    for path in ("/", "/account", "/account/tokens", "/admin/"):
        answer = app.test_client().get(path, base_url=HOST, headers={"Authorization": f"Bearer {token}"})
        assert answer.status_code == 303
        assert answer.headers["Location"].startswith("/sign-in")


@pytest.mark.badinput
@pytest.mark.parametrize("json", [None, [], "notebook", {}, {"class": None}, {"class": ["notebook"]}, {"class": ""}])
def test_a_claim_that_names_no_class(call: Call, json: object) -> None:
    answer = call("POST", "/machines", json=json)
    assert answer.status_code == 400
    assert answer.json is not None
    assert "No class is named" in answer.json["title"]


def test_errors_are_problem_details(call: Call, people: dict[str, Actor]) -> None:
    theirs = Machine.get(Machine.owner == people["mary"].account_id)
    for answer in (call("GET", f"/machines/{theirs.id}"), call("POST", f"/machines/{theirs.id}/release"), call("GET", "/nothing")):
        assert answer.status_code == 404
        assert answer.mimetype == "application/problem+json"
        assert answer.json is not None
        assert set(answer.json) == {"title", "detail", "status"}
    assert call("POST", "/machines", json={"class": "nothing"}).status_code == 404


def test_a_browser_may_ask_and_needs_the_csrf_token_to_change(ada: Browser) -> None:
    assert ada.get("/api/v1/me").json == {"name": "ada", "full_name": "Ada Lovelace", "email": "ada@example.org"}
    assert ada.post("/api/v1/machines", {"class": "notebook"}, csrf=False).status_code == 400
    assert ada.post("/api/v1/machines", {"class": "notebook"}).status_code == 201


@pytest.mark.badinput
def test_a_wrong_token_is_not_mended_by_a_cookie(ada: Browser) -> None:
    assert ada.get("/api/v1/me", Authorization="Bearer dpe_wrong").status_code == 401
    assert ada.get("/api/v1/me", Authorization="Basic YTpi").status_code == 401


def test_every_call_is_in_the_readme_with_its_scope(app: Flask) -> None:
    table = (REPOSITORY / "webui/README.md").read_text()
    documented = set(re.findall(r"^\| `(GET|POST|PUT|DELETE) (/api/v1/[^`]*)` \| ([\w:]+) \|", table, re.MULTILINE))
    rules = [rule for rule in app.url_map.iter_rules() if rule.endpoint.startswith("api.")]
    served = {
        (method, rule.rule, app.view_functions[rule.endpoint].scope)  # type: ignore[attr-defined]
        for rule in rules
        for method in (rule.methods or set()) & {"GET", "POST", "PUT", "DELETE"}
    }
    assert documented == served


def test_a_token_reaches_the_accounts_own_machines_even_where_the_person_may_more(call: Call, people: dict[str, Actor]) -> None:
    owner = tokens.create(people["grace"], "script", ["read", "machines"], 7)
    theirs = Machine.get(Machine.owner == people["ada"].account_id)
    assert call("GET", f"/machines/{theirs.id}", bearer=owner).status_code == 404
    assert call("POST", f"/machines/{theirs.id}/release", bearer=owner).status_code == 404
    assert Machine.get(Machine.id == theirs.id).state is MachineState.IN_USE
