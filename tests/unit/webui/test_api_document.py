"""The OpenAPI document against what the routes really answer: schemathesis over every call, with all its checks and the links between calls."""

import os
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from flask import Flask
from hypothesis import strategies
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import events, from_schema

from appliance import catalog
from appliance.catalog import (
    Account,
    Actor,
    Aside,
    AsideKind,
    Class,
    DataDisk,
    Job,
    KeptDisk,
    MachineState,
    Quota,
    Seed,
    Sequence,
    Session,
    Token,
    VersionState,
    sequences,
)
from appliance.services import scenarios, tokens
from appliance.settings import REPOSITORY, Settings
from tests import packages, world
from tests.hosted import hosted
from tests.unit.scenario.test_load import GOOD, write
from tests.unit.webui.conftest import HOST
from webui.api import SCOPES, described
from webui.api.document import DEPRECATED, document, operations
from webui.api.rate_limit import RateLimit
from webui.api.settings import AREAS

pytestmark = [pytest.mark.api, pytest.mark.filterwarnings("ignore::hypothesis.errors.HypothesisWarning")]  # what it sends is large

EXAMPLES = int(os.environ.get("DPE_TEST_EXAMPLES", "1"))
SEED = int(os.environ.get("DPE_TEST_SEED", "7"))


# What stands in addresses.
PLACES = {"name": "notebook", "id": "2", "verb": "stop", "number": "1", "release": "debian-13", "session_id": "5e" * 32, "token_id": "1"}
# Calls that take what another takes, or nearly: how that can be spoilt is looked at once in CI.
ALIKE = {
    *(f"put_{area.name.replace('-', '_')}_settings" for area in AREAS if area.name != "general"),
    *("test_backup_target", "put_backup_target", "test_directory", "test_email", "review_scenario", "put_webhook", "set_clock"),
    *("take_offer", "leave_offer", "merge_offer", "take_imported_scenario", "restore_disk_backups", "put_certificate", "try_network"),
    *("admin_rename_disk", "admin_delete_disk", "restart_into_version_before", "try_sequence", "use_disk", "factory_reset", "put_unit"),
}


def short(app: Flask) -> dict[str, Any]:
    """What is left to make soak: each way to spoil a call that takes no body or that is declared like others, and which methods there are not."""
    plain = [view.__name__ for _, _, view, said in operations(app) if said.takes is None or view.__name__ in ALIKE]
    return {
        "phases": {"coverage": {"unexpected-methods": []}, "stateful": {"generation": {"max-examples": 10}}},
        "operations": [{"include-operation-id": plain, "phases": {"coverage": {"enabled": False}}}],
    }


def failures(app: Flask, token: str, **chosen: Any) -> tuple[list[str], int]:
    """What schemathesis finds, and how many requests it made."""
    config = SchemathesisConfig.from_dict(
        {
            "seed": SEED,
            "continue-on-failure": True,
            "headers": {"Authorization": f"Bearer {token}"},
            **(short(app) if EXAMPLES < 5 else {}),
            "generation": {"max-examples": EXAMPLES, "deterministic": EXAMPLES < 5, "database": "none"},
            # schemathesis 4.32 sends its probe for ignored_auth with what WSGI does not take: test_nobody_gets_in does that instead.
            # What services refuse of what fits its form is a 400, as everywhere.
            "checks": {
                "not_a_server_error": {"expected-statuses": ["2xx", "3xx", "4xx", "503"]},
                "ignored_auth": {"enabled": False},
                "negative_data_rejection": {
                    "expected-statuses": ["400", "401", "403", "404", "405", "409", "412", "413", "415", "422", "429"]
                },
                "positive_data_acceptance": {"expected-statuses": ["2xx", "3xx", "400", "401", "403", "404", "409", "412", "422", "503"]},
            },
        }
    )
    schema = schemathesis.openapi.from_wsgi("/api/v1/openapi.json", app, config=config, headers={"Authorization": f"Bearer {token}"})
    found, made = [], 0
    fields = sent_fields(app)
    for event in from_schema(schema.include(**chosen) if chosen else schema).execute():
        if isinstance(event, events.ScenarioFinished):
            made += len(event.recorder.interactions)
            for one in event.recorder.interactions.values():
                found += [f"{event.label}: no field {at}" for at in unknown_pointers(one.response, fields.get(event.label))]
            for checks in event.recorder.checks.values():
                found += [
                    f"{event.label}: {one.failure_info.failure}\n{one.failure_info.code_sample}" for one in checks if one.failure_info
                ]
        if isinstance(event, events.NonFatalError | events.FatalError):
            found.append(f"{getattr(event, 'label', '')}: {getattr(event, 'info', event)}")
    return sorted(set(found)), made


def sent_fields(app: Flask) -> dict[str, set[str]]:
    """The fields of what each call takes, by its label; a call whose fields are anybody's is left out."""
    with app.test_request_context(base_url=HOST):
        said = document(app)
    found = {}
    for path, methods in said["paths"].items():
        for method, one in methods.items():
            schema = one.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
            schema = said["components"]["schemas"].get(schema.get("$ref", "").rpartition("/")[2], schema)
            if schema.get("properties") and schema.get("additionalProperties", False) is False:
                found[f"{method.upper()} {path}"] = set(schema["properties"])
    return found


def unknown_pointers(answer: Any, fields: set[str] | None) -> list[str]:
    """Where a problem says that something is wrong, and the call takes no such field. What was sent besides is refused at its place, too."""
    if answer is None or answer.status_code != 400 or fields is None:
        return []
    refused = ("there is no such field.", "Text with a NUL or half a character cannot be kept.", "A number is too large.")
    at = [str(one["pointer"]) for one in answer.json().get("errors", []) if "pointer" in one and one["detail"] not in refused]
    return [one for one in at if one.removeprefix("#/").split("/")[0] not in fields]


schemathesis.openapi.media_type("application/zip", strategies.binary(max_size=100))


@pytest.fixture
def token(app: Flask, people: dict[str, Actor], opened: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A token that is good for everything, with dpe-host behind the application."""
    monkeypatch.setitem(app.extensions, "api_rate_limit", RateLimit(10**9))
    monkeypatch.setattr("webui.api.stream.LENGTH", 0.01)
    scenarios.follow_folder(replace(opened, scenario=write(tmp_path, GOOD.replace("notes:", "notebook:"))))
    fill(people["grace"], people["ada"])
    with hosted(opened, tmp_path):
        made = tokens.create(people["grace"], "schemathesis", list(SCOPES), 7)
        monkeypatch.setattr(app, "wsgi_app", lasting(app.wsgi_app, people["grace"]))
        yield made


def fill(grace: Actor, ada: Actor) -> None:
    """Something in most lists that a busy morning leaves empty."""
    notebook = Class.get(Class.name == "notebook")
    later = catalog.now() + timedelta(days=1)
    own = {"account": grace.account_id, "machine_class": "notebook", "size": 1}
    with catalog.write():
        for _ in range(9):
            world.machine(notebook, MachineState.READY)
        Class.update(per_person=99).execute()
        DataDisk.create(id="d1", name="data", **own)
        KeptDisk.create(id="k1", machine_name="notebook-1", seed=Seed.get(), bytes=1, until=later, **own)
        Aside.create(kind=AsideKind.DATA_DISK, id="lost", name="lost", account_name="ada", since=catalog.now())
        Job.create(machine_class="notebook", name="render", number=1, run=["true"], seconds=60, tries=1)
        Quota.create(account=ada.account_id, each=True, machines=9)
        Session.create(id="5e" * 32, account=ada.account_id, expires_at=later)
        Sequence.create(name="notebook", title="Notebook")
        sequences.add("notebook", "{}", VersionState.PROMOTED)
    tokens.create(ada, "nightly", ["read"], 7)


def lasting(answer: Any, actor: Actor) -> Any:
    """The application, for a token that no call ends: else nobody would get in any more after the first that sets its account's password."""
    token, account = Token.get(Token.name == "schemathesis"), Account.get_by_id(actor.account_id)

    def answered(environ: Any, start: Any) -> Any:
        if Token.get_or_none(Token.id == token.id) is None or Account.get_by_id(actor.account_id).must_change:
            with catalog.write():
                Token.delete().where(Token.name == token.name).execute()
                token.save(force_insert=True)
                account.save()
        return answer(environ, start)

    return answered


def test_every_call_answers_as_the_document_says(app: Flask, token: str) -> None:
    found, made = failures(app, token)
    assert found == [], "\n".join(found)
    assert made > 100


# Links that lead to nothing here, and why.
NOWHERE = {
    "GET /api/v1/admin/accounts: remove_account_codes",  # nobody uses codes
    "POST /api/v1/admin/accounts: remove_account_codes",
}
# Lists that have nothing here, and what is not created: there are no backups, nobody asks grace, no seed was shipped, one is being built, and the
# zip of the example has nothing in it.
EMPTY = {
    "GET /api/v1/admin/backups",
    "GET /api/v1/todos",
    "POST /api/v1/admin/classes/{name}/use-shipped",
    "POST /api/v1/admin/classes/{name}/build",
    "POST /api/v1/admin/applications",
}
# What takes away, the least first.
TAKES_AWAY = ("end_", "set_password", "release", "admin_reclaim", "cancel", "disable", "admin_delete", "remove", "delete")


def links(said: dict[str, Any]) -> list[tuple[str, str, str, dict[str, str]]]:
    """All of them: method and path of the call that answers, the one that goes on, and its parameters; what takes away comes last."""
    found = [
        (method, path, one["operationId"], one["parameters"])
        for path, methods in said["paths"].items()
        for method, call in methods.items()
        for answer in call["responses"].values()
        for one in answer.get("links", {}).values()
    ]
    return sorted(found, key=lambda link: ([link[2].startswith(word) for word in TAKES_AWAY][::-1], link[0] == "get"))


def pointed(answer: Any, pointer: str) -> str | None:
    """What stands there."""
    for part in pointer.removeprefix("#/").split("/"):
        try:
            answer = answer[int(part) if part.isdecimal() else part]
        except (IndexError, KeyError):
            return None
    return str(answer)


def test_every_link_leads_to_what_was_answered(app: Flask, token: str) -> None:
    """schemathesis follows some of them, by chance: here each leads once to something that is there."""
    with app.test_request_context(base_url=HOST):
        said = document(app)
    calls = {one["operationId"]: (method, path, one) for path, methods in said["paths"].items() for method, one in methods.items()}
    new = (f"made{number}" for number in count())  # a name that nothing has

    def ask(id: str, values: Mapping[str, str]) -> Any:
        method, path, call = calls[id]
        sent = call.get("requestBody", {}).get("content", {}).get("application/json", {}).get("example")
        if method == "post" and sent and "name" in sent and "{" not in path:
            sent = {**sent, "name": next(new)}
        address = re.sub(r"\{(\w+)\}", lambda part: values[part[1]], path)
        return app.test_client().open(address, method=method, base_url=HOST, json=sent, headers={"Authorization": f"Bearer {token}"})

    ask("make_support_bundle", {})
    met, sources = dict[str, int](), set[str]()
    for method, path, target, parameters in links(said):
        source = f"{method.upper()} {path}"
        answer = ask(said["paths"][path][method]["operationId"], PLACES).json
        found = {name: pointed(answer, at.removeprefix("$response.body")) for name, at in parameters.items() if "$response" in at}
        sources.add(source)
        if values := {name: value for name, value in found.items() if value is not None}:
            met[f"{source}: {target}"] = ask(target, PLACES | values).status_code
    assert {name for name, status in met.items() if status in (404, 500)} == NOWHERE
    assert sources - {name.split(": ")[0] for name in met} == EMPTY
    assert len(met) > 120


def test_what_is_deprecated_is_marked_and_says_what_to_use(app: Flask) -> None:
    """Calls and fields, all that the README names."""
    with app.test_request_context(base_url=HOST):
        said = document(app)
    calls = {path: one for path, methods in said["paths"].items() for one in methods.values() if one.get("deprecated")}
    fields = {
        name: field
        for schema in said["components"]["schemas"].values()
        for name, field in schema.get("properties", {}).items()
        if field.get("deprecated")
    }
    assert all(re.search(r"Use [\w/<>{}-]+\.", one["description"]) for one in (*calls.values(), *fields.values()))
    classes = re.search(r"^\| `GET /api/v1/classes` .*\(deprecated: `(\w+)`\)", (REPOSITORY / "webui/README.md").read_text(), re.MULTILINE)
    assert classes
    assert classes[1] in fields
    assert {path.split("{")[0] for path in calls} >= {f"{rule.split('<')[0]}" for rule in DEPRECATED}


@pytest.mark.parametrize("bearer", [None, "dpe_nothing"])
def test_nobody_gets_in(app: Flask, people: dict[str, Actor], bearer: str | None) -> None:
    for rule, method, _, _ in operations(app):
        path = re.sub("<int:.*?>", "1", re.sub("<[^:]*?>", "x", rule.rule))
        answer = app.test_client().open(path, method=method, base_url=HOST, headers={"Authorization": f"Bearer {bearer}"} if bearer else {})
        assert (answer.status_code, answer.mimetype) == (401, "application/problem+json"), path
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")


# What needs a file, a name or a server that is nowhere in a unit test.
NOT_HERE = {
    "factory_reset",
    "import_scenario",
    "stage_update",
    "put_backup_target",
    "test_backup_target",
    "restore_backup",
    "fetch_backup_copies",
    "put_certificate",
    "test_email",
    "upload_application",
}


def test_every_example_of_the_page_runs_as_it_stands(app: Flask, token: str) -> None:
    """Only what is in capitals is filled in; a call that creates or changes does so, and none is refused for what it says."""
    values = {name.upper(): value for name, value in PLACES.items()}
    packages.write(app.config["SETTINGS"].packages)
    with app.test_request_context(base_url=HOST):
        found = [call for _, calls in described.calls(document(app), f"{HOST}/") for call in calls]
    found.sort(key=lambda call: call.id.startswith(("disable", "delete")))  # these take away what others are about
    met = {}
    for call in found:
        *words, address = shlex.split(call.example.replace("$TOKEN", token))
        said = dict(zip(words[::2], words[1::2], strict=True))
        heads = dict(word.split(": ", 1) for option, word in zip(words[::2], words[1::2], strict=True) if option == "-H")
        path = re.sub("[A-Z_]+$|(?<=/)[A-Z_]+(?=/)", lambda name: values[name[0]], address.removeprefix(HOST))
        answer = app.test_client().open(path, method=said.get("-X", "GET"), base_url=HOST, headers=heads, data=said.get("-d", b"PK"))
        met[call.id] = answer.status_code
        answer.close()
    assert {name: status for name, status in met.items() if status not in (200, 201, 202, 204, 404, 409) and name not in NOT_HERE} == {}
    assert {met[name] for name in ("claim", "new_account", "new_group", "new_unit")} == {201}
    assert {met[name] for name in ("put_account", "put_policy", "put_unit", "me", "admin_machines")} == {200}
