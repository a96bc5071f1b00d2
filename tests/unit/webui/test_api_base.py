"""What all calls of the API have alike: problem details, JSON that is refused, idempotency keys, ETags, how many calls there may be."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from appliance import catalog
from appliance.catalog import Actor, Class, IdempotencyKey, Machine, idempotency, now
from appliance.services import tokens
from appliance.settings import Settings
from tests.hosted import hosted
from tests.unit.webui.conftest import HOST
from webui.api import SCOPES
from webui.api.rate_limit import RateLimit

pytestmark = pytest.mark.api

Call = Callable[..., TestResponse]


@pytest.fixture
def call(app: Flask, people: dict[str, Actor]) -> Call:
    """Ask the API with a token that is good for everything: `call("GET", "/me", name="ada")`."""
    made: dict[str, str] = {}

    def ask(
        method: str, path: str, *, name: str = "ada", json: object = None, data: bytes | str | None = None, **headers: str
    ) -> TestResponse:
        token = made.get(name) or made.setdefault(name, tokens.create(people[name], "script", list(SCOPES), 7))
        sent = {"Authorization": f"Bearer {token}", **({"Content-Type": "application/json"} if data is not None else {}), **headers}
        return app.test_client().open(f"/api/v1{path}", method=method, base_url=HOST, json=json, data=data, headers=sent)

    return ask


CLAIM = {"class": "notebook"}


@pytest.fixture
def many(people: dict[str, Actor]) -> None:
    Class.update(per_person=9, burst=3).execute()


def held() -> int:
    return Machine.select().where(Machine.owner.is_null(False)).count()


# -- idempotency keys ---------------------------------------------------------------------------------


@pytest.mark.usefixtures("many")
def test_the_same_key_is_answered_the_same_and_makes_nothing_twice(call: Call) -> None:
    key, before = str(uuid4()), held()
    first, again = (call("POST", "/machines", json=CLAIM, **{"Idempotency-Key": key}) for _ in range(2))
    assert (first.status_code, again.status_code) == (201, 201)
    assert (first.json, first.headers["Location"]) == (again.json, again.headers["Location"])
    assert "Idempotency-Replayed" not in first.headers
    assert again.headers["Idempotency-Replayed"] == "true"
    assert held() == before + 1


@pytest.mark.usefixtures("many")
def test_a_key_is_for_one_thing(call: Call) -> None:
    call("POST", "/machines", json=CLAIM, **{"Idempotency-Key": "mine"})
    other = call("POST", "/machines", json={**CLAIM, "count": 2}, **{"Idempotency-Key": "mine"})
    assert (other.status_code, other.mimetype) == (422, "application/problem+json")
    assert call("POST", "/machines", name="alan", json=CLAIM, **{"Idempotency-Key": "mine"}).headers.get("Idempotency-Replayed") is None


@pytest.mark.usefixtures("many")
def test_a_key_is_forgotten_after_a_day(call: Call) -> None:
    call("POST", "/machines", json=CLAIM, **{"Idempotency-Key": "one"})
    with catalog.write():
        IdempotencyKey.update(created_at=now() - timedelta(days=1, seconds=1)).execute()
    assert "Idempotency-Replayed" not in call("POST", "/machines", json=CLAIM, **{"Idempotency-Key": "one"}).headers
    assert IdempotencyKey.select().count() == 1


@pytest.mark.badinput
@pytest.mark.parametrize("hours", [-1, 1])
def test_a_clock_that_was_off_by_an_hour_makes_nothing_twice(call: Call, hours: int) -> None:
    made = call("POST", "/machines", json=CLAIM, **{"Idempotency-Key": "one"})
    before = held()
    with catalog.write():
        IdempotencyKey.update(created_at=now() + timedelta(hours=hours)).execute()
    again = call("POST", "/machines", json=CLAIM, **{"Idempotency-Key": "one"})
    assert (again.json, again.headers["Idempotency-Replayed"], held()) == (made.json, "true", before)


@pytest.mark.usefixtures("many")
def test_what_is_refused_is_not_kept(call: Call) -> None:
    assert call("POST", "/machines", json={"class": "nothing"}, **{"Idempotency-Key": "one"}).status_code == 404
    assert IdempotencyKey.select().count() == 0


@pytest.mark.usefixtures("many")
def test_what_creates_and_the_note_of_it_are_there_together_or_not_at_all(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """However far it came when it was killed; the process itself is killed in tests/integration/programs/test_api_killed.py."""
    before, keep = held(), idempotency.keep

    def cut(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(idempotency, "keep", cut)
    with pytest.raises(KeyboardInterrupt):
        call("POST", "/machines", json=CLAIM, **{"Idempotency-Key": "one"})
    assert held() == before
    monkeypatch.setattr(idempotency, "keep", keep)
    assert call("POST", "/machines", json=CLAIM, **{"Idempotency-Key": "one"}).status_code == 201
    assert held() == before + 1


@pytest.mark.badinput
@pytest.mark.parametrize("key", ["", " ", "x" * 201, "ä", "a b"])
def test_a_key_that_is_none(call: Call, key: str) -> None:
    before = held()
    assert call("POST", "/machines", json=CLAIM, **{"Idempotency-Key": key}).status_code == 400
    assert held() == before


# -- what is sent ---------------------------------------------------------------------------------------


@pytest.mark.badinput
@pytest.mark.parametrize(
    ("sent", "at"),
    [
        ("{", None),
        ('{"class": "notebook", "class": "studio"}', None),
        ('{"class": "notebook", "count": NaN}', None),
        ('{"class": "notebook", "count": ' + "9" * 5000 + "}", None),
        ("[" * 100_000, None),
        (b'{"class": "\xff"}', None),
        ('{"class": "note\\u0000book"}', "#/class"),
        ('{"class": "\\ud800"}', "#/class"),
        ('{"class": "notebook", "count": 99999999999999999999}', "#/count"),
        ('{"class": "notebook", "count": 1e400}', "#/count"),
        ('{"class": "notebook", "more": [{"a/b~": "\\u0000"}]}', "#/more/0/a~1b~0"),
    ],
)
def test_json_that_is_none_or_that_cannot_be_kept(call: Call, sent: str | bytes, at: str | None) -> None:
    before = held()
    answer = call("POST", "/machines", data=sent)
    assert (answer.status_code, answer.mimetype) == (400, "application/problem+json")
    assert answer.json is not None
    assert [one.get("pointer") for one in answer.json.get("errors", [])] == ([at] if at else [])
    assert held() == before


@pytest.mark.badinput
def test_ten_megabytes_are_refused_unread(call: Call) -> None:
    answer = call("POST", "/machines", data=b'{"class": "' + b"x" * (10 << 20) + b'"}')
    assert (answer.status_code, answer.mimetype) == (413, "application/problem+json")


@pytest.mark.badinput
def test_there_is_an_entry_for_a_wrong_field(call: Call) -> None:
    answer = call("POST", "/machines", json={"class": 5, "count": "x"})
    assert answer.json is not None
    assert [(one["pointer"], bool(one["detail"])) for one in answer.json["errors"]] == [("#/class", True), ("#/count", True)]


NO_ZIP = "bm8gemlw"  # in Base64


@pytest.mark.badinput
@pytest.mark.parametrize(
    ("method", "path", "sent", "at"),
    [
        ("POST", "/machines", {"class": "nothing"}, ["#/class"]),
        ("PUT", "/admin/accounts/2", {"ssh_keys": "no key"}, ["#/ssh_keys"]),
        ("POST", "/admin/accounts", {"name": "emmy", "password": "short"}, ["#/password"]),
        ("PUT", "/admin/grants/user:account:2:class:notebook", {"ends_at": "2001-01-01T00:00:00Z"}, ["#/ends_at"]),
        ("PUT", "/admin/grants/user:account:2:class:notebook", {"limits": {"lease_minutes": 0}}, ["#/limits/lease_minutes"]),
        ("PUT", "/admin/grants/user:account:2:nowhere", {}, []),
        ("PUT", "/admin/quotas/account:2:each:all", {"lease_minutes": 0}, ["#/lease_minutes"]),
        ("PUT", "/admin/quotas/account:2:each:all", {}, ["#/machines"]),
        ("POST", "/admin/accounts/2/delete", {"disks": "hand over", "to": "nobody"}, ["#/to"]),
        ("PUT", "/admin/certificate", {"files": [NO_ZIP], "host": "dpe.example.org"}, []),
        ("PUT", "/admin/backups/target", {"target": {"kind": "s3", "endpoint": "https://s3.example.org", "bucket": "b", "access_key": "k"}}, ["#/target/bucket", "#/target/secret_key"]),
        ("PUT", "/admin/backups/target", {"target": {"kind": "s3", "endpoint": "https://s3.example.org", "bucket": "bucket", "access_key": "k", "secret_key": "*"}}, ["#/target/secret_key"]),
        ("PUT", "/admin/backups/target", {"target": {"kind": "tape"}}, ["#/target"]),
        ("PUT", "/admin/classes/notebook/policy", {"lease_minutes": 0}, ["#/lease_minutes"]),
        ("PUT", "/admin/classes/notebook/policy", {"sequence": "nothing"}, ["#/sequence"]),
    ],
)  # fmt: skip
def test_what_a_service_refuses_is_said_at_the_calls_own_field(
    call: Call, opened: Settings, tmp_path: Path, method: str, path: str, sent: object, at: list[str]
) -> None:
    """Services call fields as the pages' forms do."""
    with hosted(opened, tmp_path):
        answer = call(method, path, name="grace", json=sent)
    assert (answer.status_code, answer.mimetype) in ((400, "application/problem+json"), (404, "application/problem+json")), answer.text
    assert answer.json is not None
    assert [one["pointer"] for one in answer.json.get("errors", [])] == at, answer.text


@pytest.mark.badinput
def test_a_method_that_there_is_not_is_told_which_there_are(call: Call) -> None:
    answer = call("PUT", "/machines")
    assert (answer.status_code, answer.mimetype) == (405, "application/problem+json")
    assert {"GET", "POST"} <= set(answer.headers["Allow"].split(", "))


# -- ETags -------------------------------------------------------------------------------------------------


def test_who_has_it_already_is_sent_nothing(call: Call) -> None:
    etag = call("GET", "/me").headers["ETag"]
    same = call("GET", "/me", **{"If-None-Match": etag})
    assert (same.status_code, same.data) == (304, b"")
    assert call("GET", "/me", name="alan", **{"If-None-Match": etag}).status_code == 200


# -- how many calls -----------------------------------------------------------------------------------------


def test_too_many_calls_are_told_when_to_come_back(app: Flask, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    moment = [0.0]
    monkeypatch.setitem(app.extensions, "api_rate_limit", RateLimit(3, 0.5, lambda: moment[0]))
    assert [call("GET", "/me").headers["RateLimit"] for _ in range(3)] == [f'"account";r={left};t={6 - 2 * left}' for left in (2, 1, 0)]
    answer = call("GET", "/me")
    assert (answer.status_code, answer.mimetype, answer.headers["Retry-After"]) == (429, "application/problem+json", "2")
    assert answer.headers["RateLimit-Policy"] == '"account";q=3;w=6'
    assert call("GET", "/me", name="alan").status_code == 200, "each account for itself"
    moment[0] = 2.0
    assert call("GET", "/me").status_code == 200


def test_accounts_are_not_remembered_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("webui.api.rate_limit.MOST", 3)
    limit = RateLimit()
    for account in range(10):
        limit.take(account)
    assert len(limit._buckets) == 3
