"""What admins do over the API: whole objects that are put, lists by cursor, ETags, events as they happen, and who may."""

import json
from collections.abc import Callable
from datetime import timedelta
from urllib.parse import quote
from uuid import uuid4

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from appliance import catalog
from appliance.catalog import Account, Actor, Class, Event, EventKind, Grant, Group, Machine, MachineState, Quota, Token, record
from appliance.services import tokens
from tests import world
from tests.unit.webui.conftest import HOST, Browser
from webui.api import SCOPES

pytestmark = pytest.mark.api

Call = Callable[..., TestResponse]


@pytest.fixture
def call(app: Flask, people: dict[str, Actor]) -> Call:
    """Ask as grace's program, or another's: `call("GET", "/admin/machines", name="ada")`."""
    made: dict[str, str] = {}

    def ask(
        method: str, path: str, json: object = None, *, name: str = "grace", scope: tuple[str, ...] = tuple(SCOPES), **headers: str
    ) -> TestResponse:
        key = f"{name} {scope}"
        token = made.get(key) or made.setdefault(key, tokens.create(people[name], "script", list(scope), 7))
        return app.test_client().open(
            f"/api/v1{path}", method=method, base_url=HOST, json=json, headers={"Authorization": f"Bearer {token}", **headers}
        )

    return ask


def said(answer: TestResponse) -> dict[str, object]:
    assert answer.status_code in (200, 201, 202), answer.text
    assert isinstance(answer.json, dict)
    return answer.json


# -- whole objects -----------------------------------------------------------------------------------------

WHOLE = [
    ("/admin/grants/user:group:1:class:notebook", {"ends_at": "2100-01-01T00:00:00+00:00", "limits": {"machines": 2}}),
    ("/admin/grants/approver:account:2:unit:2", {}),
    ("/admin/grants/operator:unit:2:appliance", {}),
    ("/admin/quotas/account:2:each:class:notebook", {"machines": 3, "memory": 4096}),
    ("/admin/quotas/group:1:together:all", {"vcpus": 9}),
    (
        "/admin/classes/notebook/policy",
        {
            "buffer": 2, "burst": 2, "per_person": 3, "readiness": "running", "fork": False,
            "windows": [{"name": "Lessons", "begin": "9:00", "end": "10:30", "buffer": 5}],
            "one_offs": [{"name": "Exam", "day": "2100-06-01", "begin": "09:00", "end": "11:00", "start": 4}],
        },
    ),
    ("/admin/groups/1/members", {"accounts": ["ada", "alan"]}),
    ("/admin/accounts/2", {"full_name": "Augusta Ada King", "email": "ada@example.org"}),
    ("/admin/org-units/2", {"name": "Sciences", "parent": 1}),
]  # fmt: skip


@pytest.mark.parametrize(("path", "whole"), WHOLE, ids=[path for path, _ in WHOLE])
def test_what_is_put_once_more_changes_nothing_and_says_so(call: Call, path: str, whole: object) -> None:
    assert said(call("PUT", path, whole))["changed"] is True
    count = Event.select().count()
    seen = call("GET", path.removesuffix("/members"))
    assert said(call("PUT", path, whole)) == {"changed": False, "fields": []}
    assert call("GET", path.removesuffix("/members")).headers["ETag"] == seen.headers["ETag"]
    if "accounts/" not in path:
        assert Event.select().count() == count


def test_what_is_put_is_what_is_there(call: Call) -> None:
    path = "/admin/grants/user:group:1:class:notebook"
    assert call("GET", path).status_code == 404
    call("PUT", path, {"ends_at": "2100-01-01T00:00:00+02:00", "limits": {"machines": 2}})
    call("PUT", path, {"ends_at": "2101-01-01T00:00:00+00:00", "limits": {"machines": 4}})
    found = said(call("GET", path))
    assert (found["role"], found["over_class"], found["ends_at"]) == ("user", "notebook", "2101-01-01T00:00:00+00:00")
    assert Quota.get(Quota.grant.is_null(False)).machines == 4
    assert Grant.select().where(Grant.group == 1, Grant.role == "user").count() == 1
    assert found in said(call("GET", "/admin/grants"))["items"]  # type: ignore[operator]
    assert call("DELETE", path).status_code == 204
    assert (call("GET", path).status_code, call("DELETE", path).status_code) == (404, 404)


def test_what_a_policy_leaves_out_is_the_scenarios(call: Call) -> None:
    path = "/admin/classes/notebook/policy"
    before = said(call("GET", path))["counts"]
    assert said(call("PUT", path, {"buffer": 2, "maximum": 9}))["fields"] == ["buffer", "maximum", "per_person"]
    assert said(call("GET", path))["values"] == {"buffer": 2, "maximum": 9}
    assert (Class.get(Class.name == "notebook").buffer, Class.get(Class.name == "notebook").maximum) == (2, 9)
    call("PUT", path, {})
    now = said(call("GET", path))
    assert now["values"] == {}
    assert set(now["counts"]) == set(before)  # type: ignore[call-overload]
    assert {event.data["after"].get("buffer") for event in Event.select().where(Event.kind == EventKind.CLASS_POLICY)} >= {2}


def test_the_only_owner_stays_one(call: Call, people: dict[str, Actor]) -> None:
    [owner] = [one for one in said(call("GET", "/admin/grants"))["items"] if one["role"] == "owner"]  # type: ignore[attr-defined]
    assert call("DELETE", f"/admin/grants/{owner['id']}").status_code == 409
    assert call("GET", f"/admin/grants/{owner['id']}").status_code == 200


@pytest.mark.badinput
@pytest.mark.parametrize("id", ["", "x", "user:account:2", "user:account:02:appliance", "user:account:2:class", "user:nobody:2:appliance", "user:account:2:appliance:x", "user:account:99999999999999999999:appliance", "user:account:777:appliance", "nothing:account:2:appliance"])  # fmt: skip
def test_an_id_that_is_none(call: Call, id: str) -> None:
    count = Grant.select().count()
    assert call("PUT", f"/admin/grants/{id}", {}).status_code == 404
    assert Grant.select().count() == count


@pytest.mark.badinput
@pytest.mark.parametrize(
    ("path", "sent", "at"),
    [
        ("/admin/grants/user:account:2:class:notebook", {"ends_at": "yesterday"}, "#/ends_at"),
        ("/admin/grants/user:account:2:class:notebook", {"ends_at": "2100-01-01T00:00:00"}, "#/ends_at"),  # of no zone
        ("/admin/grants/user:account:2:class:notebook", {"limits": {"machines": "2"}}, "#/limits/machines"),
        ("/admin/grants/user:account:2:class:notebook", {"until": "2100-01-01T00:00:00Z"}, "#/until"),
        ("/admin/quotas/account:2:each:all", {"machines": -1}, "#/machines"),
        ("/admin/quotas/account:2:each:all", {"machines": True}, "#/machines"),
        ("/admin/classes/notebook/policy", {"nothing": 1}, "#/nothing"),
        ("/admin/classes/notebook/policy", {"buffer": "2"}, "#/buffer"),
        ("/admin/classes/notebook/policy", {"readiness": ["cold"]}, "#/readiness"),
        ("/admin/classes/notebook/policy", {"windows": ["x"]}, None),
        ("/admin/classes/notebook/policy", [], None),
        ("/admin/groups/1/members", {"accounts": ["nobody"]}, "#/accounts"),
        ("/admin/accounts/2", None, None),
        ("/admin/accounts/2", {"full_name": "x" * 101}, "#/full_name"),
    ],
)
def test_a_wrong_field_is_named_and_nothing_is_changed(call: Call, path: str, sent: object, at: str | None) -> None:
    call("GET", "/me")
    count = Event.select().count()
    answer = call("PUT", path, sent)
    assert (answer.status_code, answer.mimetype) == (400, "application/problem+json")
    assert answer.json is not None
    assert at is None or [one["pointer"] for one in answer.json["errors"]] == [at]
    assert Event.select().count() == count


# -- lost updates ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("path", "whole"), WHOLE, ids=[path for path, _ in WHOLE])
def test_who_saw_what_was_there_before_writes_nothing_over_it(call: Call, path: str, whole: dict[str, object]) -> None:
    read = path.removesuffix("/members")
    stale = call("GET", read).headers.get("ETag", '"never"')
    call("PUT", path, whole)
    answer = call("PUT", path, whole, **{"If-Match": stale})
    assert (answer.status_code, answer.mimetype) == (412, "application/problem+json")
    assert call("PUT", path, whole, **{"If-Match": call("GET", read).headers["ETag"]}).status_code == 200
    assert call("PUT", path, whole, **{"If-None-Match": "*"}).status_code == 412


# -- creating ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "sent", "model"),
    [
        ("/admin/accounts", {"name": "emmy", "password": "correct horse battery"}, Account),
        ("/admin/groups", {"name": "physicists"}, Group),
        ("/admin/org-units", {"name": "Library"}, catalog.OrgUnit),
    ],
)
def test_what_is_created_is_created_once(call: Call, path: str, sent: object, model: type[Account]) -> None:
    count, key = model.select().count(), str(uuid4())
    first, again = (call("POST", path, sent, **{"Idempotency-Key": key}) for _ in range(2))
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.headers["Location"] == first.headers["Location"]
    assert model.select().count() == count + 1
    assert call("GET", first.headers["Location"].removeprefix("/api/v1")).json == first.json


# -- a person's own ------------------------------------------------------------------------------------------


def test_who_waits_no_more(call: Call) -> None:
    [request] = catalog.Request.select().where(catalog.Request.state == catalog.RequestState.WAITING)
    assert call("POST", f"/requests/{request.id}/cancel", name="ada").status_code == 404
    assert said(call("POST", f"/requests/{request.id}/cancel", name="alan")) == {"state": "cancelled"}
    assert catalog.Request.get_by_id(request.id).state is not catalog.RequestState.WAITING


def test_machines_that_were_got_together_are_given_back_together(call: Call) -> None:
    Class.update(burst=5, per_person=9).execute()
    call("POST", "/machines", {"class": "notebook", "count": 2}, name="ada")
    batch = catalog.Request.select().where(catalog.Request.account == 2).order_by(catalog.Request.id).get().id
    assert said(call("POST", f"/batches/{batch}/extend", name="ada"))["machines"] == 2
    assert said(call("POST", f"/batches/{batch}/release", name="ada"))["machines"] == 2
    assert Machine.select().where(Machine.owner == 2, Machine.state == MachineState.RECLAIMING).count() == 2


def test_a_data_disk_gets_another_name(call: Call) -> None:
    disk = catalog.DataDisk.create(id=str(uuid4()), account=2, machine_class="notebook", name="data", size=1)
    assert said(call("POST", f"/data-disks/{disk.id}/rename", {"name": "thesis"}, name="ada"))["name"] == "thesis"
    assert call("POST", f"/data-disks/{disk.id}/rename", {"name": "mine"}, name="alan").status_code == 404


# -- how others get in -------------------------------------------------------------------------------------


def test_how_somebody_gets_in_is_seen_and_ended(call: Call, app: Flask, people: dict[str, Actor], ada: Browser) -> None:
    """As on the page Sign-in: the browser, the program and the codes are gone, each is recorded, and no secret is told."""
    who = people["ada"]
    with catalog.write():
        catalog.SecondFactor.create(account=who.account_id, secret="JBSWY3DPEHPK3PXP", confirmed_at=catalog.now())
    secret = tokens.create(who, "nightly", ["read"], 7)
    place = f"/admin/accounts/{who.account_id}"

    [session] = said(call("GET", f"{place}/sessions"))["items"]  # type: ignore[misc]
    assert (session["address"], ada.get("/account").status_code) == ("127.0.0.1", 200)  # type: ignore[index]
    assert call("DELETE", f"{place}/sessions/{session['id']}").status_code == 204  # type: ignore[index]
    assert ada.get("/account").status_code == 303, "that browser is signed out"
    assert call("DELETE", f"{place}/sessions/{session['id']}").status_code == 404  # type: ignore[index]

    [token] = said(call("GET", f"{place}/tokens"))["items"]  # type: ignore[misc]
    assert (token["name"], token["ending"], token["scope"]) == ("nightly", secret[-4:], ["read"])  # type: ignore[index]
    assert secret not in call("GET", f"{place}/tokens").text

    def used() -> int:
        return app.test_client().get("/api/v1/me", base_url=HOST, headers={"Authorization": f"Bearer {secret}"}).status_code

    assert used() == 200
    assert call("DELETE", f"/admin/accounts/{people['alan'].account_id}/tokens/{token['id']}").status_code == 404, "it is ada's"  # type: ignore[index]
    assert used() == 200
    assert call("DELETE", f"{place}/tokens/{token['id']}").status_code == 204  # type: ignore[index]
    assert used() == 401

    assert said(call("GET", f"{place}/one-time-codes")) == {"on": True, "missing": False}
    assert call("DELETE", f"{place}/one-time-codes").status_code == 204
    assert said(call("GET", f"{place}/one-time-codes"))["on"] is False
    assert call("DELETE", f"{place}/one-time-codes").status_code == 404
    told = [event.message for event in Event.select().where(Event.actor == "grace").order_by(Event.id.desc()).limit(3)]
    assert told[::-1] == ["grace ended a session of ada.", "grace ended ada's token nightly.", "grace turned one-time codes of ada off."]


@pytest.mark.authz
def test_how_somebody_gets_in_is_for_who_looks_after_them(call: Call, people: dict[str, Actor]) -> None:
    """mary looks after the unit of alan alone; to read takes admin:read, to end admin:people."""
    ada, alan, owner = (people[name].account_id for name in ("ada", "alan", "grace"))
    with catalog.write():
        unit = catalog.OrgUnit.create(name="Guests", parent=catalog.ROOT)
        Account.update(org_unit=unit.id).where(Account.id.in_([alan, owner])).execute()
        Grant.create(role="delegated_admin", account=people["mary"].account_id, over_unit=unit.id)
        catalog.SecondFactor.create(account=owner, secret="JBSWY3DPEHPK3PXP", confirmed_at=catalog.now())
    for what in ("sessions", "tokens", "one-time-codes"):
        assert call("GET", f"/admin/accounts/{alan}/{what}", name="mary").status_code == 200
        assert call("GET", f"/admin/accounts/{ada}/{what}", name="mary").status_code == 404
        assert call("GET", f"/admin/accounts/{alan}/{what}", name="ada").status_code in (403, 404)
        assert "admin:read" in call("GET", f"/admin/accounts/{ada}/{what}", scope=("read", "admin:people")).text
    for path in ("sessions/x", "tokens/1", "one-time-codes"):
        answer = call("DELETE", f"/admin/accounts/{ada}/{path}", scope=("read", "admin:read"))
        assert (answer.status_code, "admin:people" in answer.text) == (403, True)
        assert call("DELETE", f"/admin/accounts/{ada}/{path}", name="mary").status_code == 404
    assert call("DELETE", f"/admin/accounts/{owner}/one-time-codes", name="mary").status_code == 403, "she may do more than mary"
    assert catalog.SecondFactor.select().count() == 1


# -- lists -------------------------------------------------------------------------------------------------


def test_a_list_is_read_to_its_end_by_cursor(call: Call, people: dict[str, Actor]) -> None:
    world.many_machines(Class.get(Class.name == "notebook"), 60, people["ada"])
    for sort in ("-created", "owner", "-state", "machine"):
        seen: list[str] = []
        after: str | None = ""
        while after is not None:
            query = {"limit": "25", "sort": sort, **({"after": after} if after else {})}
            page = said(call("GET", "/admin/machines?" + "&".join(f"{name}={quote(value)}" for name, value in query.items())))
            assert len(page["items"]) <= 25  # type: ignore[arg-type]
            seen += [one["id"] for one in page["items"]]  # type: ignore[attr-defined]
            after = page["next"]  # type: ignore[assignment]
        alive = {machine.id for machine in Machine.select().where(Machine.state != MachineState.RETIRED)}
        assert len(seen) == len(set(seen))
        assert set(seen) == alive


def test_a_list_is_narrowed(call: Call) -> None:
    found = said(call("GET", "/admin/machines?state=ready&class=notebook"))["items"]
    assert [one["state"] for one in found] == ["ready"] * 3  # type: ignore[attr-defined]
    assert {one["name"] for one in said(call("GET", "/admin/accounts?text=lovelace"))["items"]} == {"ada"}  # type: ignore[attr-defined]


@pytest.mark.badinput
@pytest.mark.parametrize(
    ("query", "name"),
    [("state=nothing", "state"), ("sort=nothing", "sort"), ("after=x", "after"), ("after=[1]", "after"), ("limit=0", "limit"), ("limit=201", "limit"), ("limit=x", "limit"), ("page=2", "page"), ("retired=maybe", "retired")],
)  # fmt: skip
def test_a_wrong_parameter_is_named(call: Call, query: str, name: str) -> None:
    answer = call("GET", f"/admin/machines?{query}")
    assert answer.status_code == 400
    assert answer.json is not None
    assert [one["parameter"] for one in answer.json["errors"]] == [name]


# -- who may -------------------------------------------------------------------------------------------------


def test_a_token_of_before_sees_and_does_no_more_than_it_did(call: Call) -> None:
    for method, path, sent in (
        ("GET", "/admin/machines", None),
        ("GET", "/admin/accounts", None),
        ("POST", "/admin/groups", {"name": "mine"}),
        ("PUT", "/admin/classes/notebook/policy", {}),
        ("POST", "/admin/classes/notebook/build", None),
    ):
        answer = call(method, path, sent, scope=("read", "machines", "readings", "todos", "sequences"))
        assert answer.status_code == 403
        assert "not good for this" in answer.text


def test_who_looks_after_a_part_sees_that_part(call: Call) -> None:
    """mary manages the class studio through her group."""
    assert {one["name"] for one in said(call("GET", "/admin/classes", name="mary"))["items"]} == {"studio"}  # type: ignore[attr-defined]
    assert {one["class"] for one in said(call("GET", "/admin/seeds", name="mary"))["items"]} == {"studio"}  # type: ignore[attr-defined]
    assert call("PUT", "/admin/classes/studio/policy", {"buffer": 2}, name="mary").status_code == 200
    assert call("PUT", "/admin/classes/notebook/policy", {"buffer": 2}, name="mary").status_code == 404
    assert call("GET", "/admin/accounts", name="mary").status_code == 403


def test_a_browser_confirms_access_before_what_is_dangerous(
    app: Flask, people: dict[str, Actor], signed_in: Callable[[str], Browser]
) -> None:
    grace = signed_in("grace")
    with catalog.write():
        catalog.Session.update(confirmed_at=catalog.now() - timedelta(hours=1)).execute()
    answer = grace.post("/api/v1/admin/accounts/2/disable")
    assert answer.status_code == 403
    assert "password once more" in answer.text
    assert not Account.get_by_id(2).disabled


# -- events as they happen -----------------------------------------------------------------------------------


def test_events_come_as_they_happen_and_go_on_where_one_was(call: Call, people: dict[str, Actor]) -> None:
    call("GET", "/me")
    last = catalog.events.last_id()
    answer = call("GET", f"/admin/events/stream?after={last - 1}")
    assert (answer.status_code, answer.mimetype) == (200, "text/event-stream")
    lines = (line.decode() if isinstance(line, bytes) else line for line in answer.response)
    assert next(lines).startswith("retry:")
    first = parsed(next(lines))
    assert first["id"] == str(last)
    assert next(lines).startswith(":")
    with catalog.write():
        record(EventKind.CLASS_RETRY, "grace asked to try notebook again.", people["grace"], class_name="notebook")
    happened = parsed(next(lines))
    assert (happened["id"], happened["event"], json.loads(happened["data"])["class"]) == (str(last + 1), "class.retry", "notebook")
    answer.close()
    resumed = call("GET", "/admin/events/stream", **{"Last-Event-ID": str(last)})
    chunks = iter(resumed.response)
    assert [next(chunks), parsed(next(chunks))["id"]][1] == str(last + 1)
    resumed.close()


def parsed(lines: str | bytes) -> dict[str, str]:
    text = lines.decode() if isinstance(lines, bytes) else lines
    return dict(line.split(": ", 1) for line in text.strip().splitlines())  # type: ignore[misc]


@pytest.mark.revoked
@pytest.mark.parametrize("end", ["token", "right"])
def test_a_stream_ends_with_the_right_to_see_events(call: Call, people: dict[str, Actor], end: str) -> None:
    answer = call("GET", "/admin/events/stream?after=0")
    lines = iter(answer.response)
    assert b"retry" in next(lines)  # type: ignore[operator]
    with catalog.write():
        Token.delete().execute() if end == "token" else Grant.delete().where(Grant.role == "owner").execute()
    assert list(lines) == []
    answer.close()


def test_jobs_are_submitted_and_read(call: Call) -> None:
    jobs = "/admin/classes/notebook/jobs"
    assert call("POST", jobs, {"run": ["true"]}).status_code == 409, "its machines work on none"
    assert (
        call(
            "PUT",
            "/admin/classes/notebook/policy",
            {"jobs": True},
            **{"If-Match": call("GET", "/admin/classes/notebook/policy").headers["ETag"]},
        ).status_code
        == 200
    )
    answer = call("POST", jobs, {"run": ["true"], "times": 2, "files": {"a": "b"}})
    assert (answer.status_code, len(answer.json["jobs"])) == (202, 2)
    id, other = answer.json["jobs"]
    assert call("GET", f"{jobs}/{id}").json["run"] == ["true"]
    assert call("POST", f"{jobs}/{other}/cancel").json == {"state": "cancelled"}
    assert call("POST", f"{jobs}/{other}/retry").status_code == 202
    assert [one["state"] for one in call("GET", jobs).json["items"]] == ["queued", "queued"]
    assert call("POST", jobs, {"run": []}).status_code == 400
    assert call("GET", f"/admin/classes/studio/jobs/{id}").status_code == 404
    assert call("POST", "/classes/notebook/readings", {"queue": 50}).status_code == 201
    assert call("GET", "/classes/notebook/readings").json["sent"]["queue"]["figures"]["value"]["mean"] == [50.0]
