"""Bad input over every call that changes something: each kind of it is refused, with an entry for the field where there is one, and changes nothing."""

import io
import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask

from appliance import catalog
from appliance.catalog import Actor, Class, Event, MachineState, Token, now
from appliance.services import tokens
from tests import world
from tests.unit.webui.conftest import HOST
from tests.unit.webui.test_api_document import PLACES, token
from webui.api import SCOPES
from webui.api.document import document

__all__ = ["token"]
pytestmark = [pytest.mark.api, pytest.mark.badinput]

# What is where the fixtures put it, by the area of an address.
IDS = {
    "machines": "", "data-disks": "d1", "retained-disks": "k1", "kept-disks": "k1", "quotas": "account:2:each:all",
    "grants": "user:account:2:appliance", "groups": "1", "seeds": "1",
}  # fmt: skip
# Files, which may be large; a zip in JSON among them.
OVER = {"expired": "", "ended": "", "ahead": ""}
LARGE = {"stage_update", "import_scenario", "upload_application"}


class Writing:
    """A call that changes something: where it is, and the schema of the JSON that it takes."""

    def __init__(self, method: str, path: str, said: dict[str, Any], schemas: dict[str, Any]) -> None:
        self.id, self.method = str(said["operationId"]), method
        area = path.removeprefix("/api/v1/").removeprefix("admin/").split("/")[0]
        places = PLACES | ({"id": IDS[area]} if area in IDS else {})
        self.path = re.sub(r"\{(\w+)\}", lambda part: places[part[1]], path)
        self.media = next(iter(said.get("requestBody", {}).get("content", {"application/json": {}})))
        schema = said.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
        self.schema: dict[str, Any] = schemas.get(schema.get("$ref", "").rpartition("/")[2], schema)

    def ask(self, app: Flask, bearer: str, data: bytes | str = "", json: object = None, **environ: Any) -> Any:
        type_ = {"content_type": self.media} if json is None else {"json": json}
        sent = {"data": data, **type_} if json is None else type_
        return app.test_client().open(
            self.path, method=self.method, base_url=HOST, headers={"Authorization": f"Bearer {bearer}"}, **sent, **environ
        )


@pytest.fixture
def writing(app: Flask, nothing_changes: None) -> list[Writing]:
    with app.test_request_context(base_url=HOST):
        said = document(app)
    schemas = said["components"]["schemas"]
    found = [
        Writing(method.upper(), path, one, schemas)
        for path, methods in said["paths"].items()
        for method, one in methods.items()
        if method != "get"
    ]
    assert len(found) > 130
    return found


@pytest.fixture(autouse=True)
def nothing_changes(app: Flask, token: str, people: dict[str, Actor]) -> Iterator[None]:
    """Whatever is refused is not on record, since it was not done. A machine of grace's is there, and tokens that are worth nothing."""
    IDS["machines"] = world.machine(Class.get(Class.name == "notebook"), MachineState.IN_USE, owner=people["grace"]).id
    for name in OVER:
        OVER[name] = tokens.create(people["grace"], name, list(SCOPES), 7)
    with catalog.write():
        Token.update(expires_at=now() - timedelta(seconds=1)).where(Token.name == "expired").execute()
        Token.update(created_at=now() + timedelta(hours=1)).where(Token.name == "ahead").execute()
        Token.delete().where(Token.name == "ended").execute()
    before = Event.select().count()
    yield
    assert Event.select().count() == before


# What is no JSON or cannot be kept, and where in it that is.
UNKEPT: dict[str, tuple[str | bytes, str]] = {
    "malformed": ("{", ""),
    "deep": ("[" * 20_000, ""),
    "bytes": (b'{"a": "\xff"}', ""),
    "duplicate": ('{"a": 1, "a": 1}', ""),
    "NaN": ('{"a": NaN}', ""),
    "huge": ('{"a": 99999999999999999999}', "#/a"),
    "infinite": ('{"a": [1e400]}', "#/a/0"),
    "NUL": ('{"a": "x\\u0000"}', "#/a"),
    "surrogate": ('{"a": {"b": "\\ud800"}}', "#/a/b"),
}


def test_what_is_no_json_or_cannot_be_kept(app: Flask, token: str, writing: list[Writing]) -> None:
    for call in writing:
        for name, (sent, at) in UNKEPT.items() if call.media == "application/json" else ():
            answer = call.ask(app, token, sent)
            if answer.status_code == 404 and not call.schema:  # it takes nothing, and there is nothing to do it to
                break
            assert (answer.status_code, answer.mimetype) == (400, "application/problem+json"), (call.id, name)
            assert [one["pointer"] for one in answer.json.get("errors", [])] == ([at] if at else []), (call.id, name)


def test_ten_megabytes_are_refused_unread(app: Flask, token: str, writing: list[Writing]) -> None:
    class Unread(io.BytesIO):
        def read(self, *_: Any) -> bytes:
            raise AssertionError("it is read")

        readline = readinto = read  # type: ignore[assignment]

    takers = [call for call in writing if call.schema and call.id not in LARGE]
    assert len(takers) > 50
    for call in takers:
        answer = call.ask(app, token, environ_overrides={"CONTENT_LENGTH": str(10 << 20), "wsgi.input": Unread()})
        assert (answer.status_code, answer.mimetype) == (413, "application/problem+json"), call.id


def test_fields_that_there_are_not_and_what_is_no_object(app: Flask, token: str, writing: list[Writing]) -> None:
    strict = [call for call in writing if call.schema.get("additionalProperties") is False]
    assert len(strict) > 50
    met = {}
    for call in strict:
        answer = call.ask(app, token, json={"not_a_field": 1})
        met[call.id] = answer.status_code, "#/not_a_field" in [one.get("pointer") for one in answer.json.get("errors", [])]
        for other in ([], "x", 5, True):
            assert call.ask(app, token, json=other).status_code == 400, call.id
    assert {name for name, one in met.items() if one != (400, True)} == set()


def test_wrong_types_have_an_entry_for_their_field(app: Flask, token: str, writing: list[Writing]) -> None:
    wrong = set()
    for call in writing:
        for name in call.schema.get("properties", {}):
            answer = call.ask(app, token, json={name: [[[]]]})
            pointers = [one.get("pointer", "") for one in (answer.json or {}).get("errors", [])]
            if answer.status_code != 400 or not [one for one in pointers if f"{one}/".startswith(f"#/{name}/")]:
                wrong.add((call.id, name, answer.status_code))
    assert wrong == set()


@pytest.mark.revoked
def test_tokens_that_are_over_or_not_yet_good(app: Flask, writing: list[Writing]) -> None:
    """Expired, ended, and made while the clock was an hour ahead."""
    for call in writing:
        for name, bearer in OVER.items():
            answer = call.ask(app, bearer, json={})
            assert (answer.status_code, answer.mimetype) == (401, "application/problem+json"), (call.id, name)
