"""Settings, scenario, logs, disks and people from a table over the API: what is put is there, what is wrong is said at its field, no secret comes back."""

import io
import re
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from appliance import catalog
from appliance.catalog import Account, Actor, Aside, AsideKind, Class, DataDisk, DirectoryRun, Event, options
from appliance.services import scenarios, tokens
from appliance.settings import Settings
from tests.hosted import hosted
from tests.unit.scenario.test_load import GOOD, write
from tests.unit.webui.conftest import HOST
from webui.api import SCOPES, described
from webui.api.document import document
from webui.api.settings import AREAS

pytestmark = pytest.mark.api

Call = Callable[..., TestResponse]
SECRET = "correct horse staple"


@pytest.fixture
def call(app: Flask, people: dict[str, Actor]) -> Call:
    """Ask as grace's program, or another's."""
    made: dict[str, str] = {}

    def ask(method: str, path: str, json: object = None, *, name: str = "grace", data: bytes | None = None, **headers: str) -> TestResponse:
        token = made.get(name) or made.setdefault(name, tokens.create(people[name], "script", list(SCOPES), 7))
        sent = {"Authorization": f"Bearer {token}", **headers}
        return app.test_client().open(f"/api/v1/admin/{path}", method=method, base_url=HOST, json=json, data=data, headers=sent)

    return ask


def told(answer: TestResponse, status: int = 200) -> dict[str, object]:
    assert answer.status_code == status, answer.text
    assert isinstance(answer.json, dict)
    return answer.json


def at(answer: TestResponse) -> list[str]:
    """The fields that are wrong."""
    assert (answer.status_code, answer.mimetype) == (400, "application/problem+json"), answer.text
    assert answer.json is not None
    return [one["pointer"] for one in answer.json["errors"]]


# -- settings ------------------------------------------------------------------------------------------------

WANTED: dict[str, dict[str, object]] = {
    "general": {"title": "Physics lab", "time_zone": "Europe/Berlin", "language": "de", "overcommit": 150},
    "invitations": {"days": 3},
    "sessions": {"idle": 30, "longest": 8},
    "device-sign-in": {"kept_days": 5},
    "one-time-codes": {"role": ["operator"]},
    "debian-mirror": {"mirror": "https://mirror.example.org/debian"},
    "choices": {"unused_days": 7, "space": 5},
    "holidays": {"country": "DE", "part": "BE", "own": {"2030-12-24": "Closed"}, "without": ["2030-10-03"]},
    "external-url": {"address": "https://dpe.example.org"},
    "email": {
        "host": "mail.example.org", "security": "tls", "port": 465, "sender": "dpe@example.org", "user": "dpe", "authority": "", "on": True,
        "password": SECRET,
    },
    "syslog": {"host": "logs.example.org", "port": 601, "transport": "tcp"},
    "orphans": {"days": 9},
    "ssh": {"enabled": True},
    "directory": {
        "kind": "ad", "encryption": "ldaps", "servers": ["ldap.example.org"], "base": "dc=example,dc=org", "bind_dn": "cn=reader", "minutes": 15,
        "on": False, "password": SECRET,
    },
    "host-name": {"name": "dpe2"},
    "time-servers": {"enabled": True, "servers": ["ntp.example.org"]},
    "proxies": {"proxies": ["192.0.2.7"]},
    "shell": {"enabled": True},
    "backups": {"on": True, "at": "03:15", "days": [0, 4], "daily": 9, "weekly": 1, "monthly": 0, "seeds": False, "restore_test": "daily"},
    "updates": {"address": "https://updates.example.org/dpe.raucb", "daily": True, "authority": ""},
}  # fmt: skip
LATER = {"webhooks", "machine-names"}  # an authority has to be a certificate, and names have to lead here
UNCHANGED = {"backups", "host-name"}  # a schedule is of backups that go somewhere, and the tests' kernel keeps its name


def test_each_form_of_settings_is_read_and_put_whole_and_once(call: Call, opened: Settings, tmp_path: Path) -> None:
    assert {area.name for area in AREAS} == {*WANTED, *LATER}
    with hosted(opened, tmp_path):
        for area in AREAS:
            path, wanted = f"settings/{area.name}", WANTED.get(area.name)
            before = call("GET", path)
            assert before.status_code == 200, before.text
            if wanted is None or area.name in UNCHANGED:
                continue
            guard = {"If-Match": before.headers["ETag"]}
            changed = told(call("PUT", path, wanted, **guard))
            assert changed["changed"], area.name
            after = call("GET", path)
            secrets = {"password"} & set(wanted)
            assert {name: told(after)[name] for name in wanted if name not in secrets} == {
                n: v for n, v in wanted.items() if n not in secrets
            }
            if secrets:
                assert told(after)["has_password"]
                assert SECRET not in after.text
            count = Event.select().count()
            assert told(call("PUT", path, {n: v for n, v in wanted.items() if n not in secrets})) == {"changed": False, "fields": []}
            assert Event.select().count() == count, f"{area.name}: nothing is recorded of what changes nothing"
            if not area.host:
                assert call("PUT", path, wanted, **guard).status_code == 412, area.name
    assert DirectoryRun.select().count() == 1, "a directory is synchronised when it changes"
    assert SECRET not in str(list(Event.select().tuples()))
    assert SECRET not in str([options.get(name) for name in ("mail", "directory")])


WRONG: list[tuple[str, dict[str, object], str]] = [
    ("general", {"title": "", "time_zone": "Europe/Berlin", "overcommit": 100}, "#/title"),
    ("general", {"title": "x", "time_zone": "Mars/Base", "overcommit": 100}, "#/time_zone"),
    ("general", {"title": "x", "time_zone": "UTC", "overcommit": "100"}, "#/overcommit"),
    ("general", {"title": "x", "time_zone": "UTC", "overcommit": 100, "more": 1}, "#/more"),
    ("invitations", {"days": True}, "#/days"),
    ("sessions", {"idle": 9999, "longest": 1}, "#/idle"),
    ("one-time-codes", {"role": ["king"]}, "#/role/0"),
    ("holidays", {"country": "XX"}, "#/country"),
    ("holidays", {"own": {"2030-02-31": "x"}}, "#/own/2030-02-31"),
    ("email", {"host": "mail.example.org", "sender": "nobody"}, "#/sender"),
    ("email", {"host": "mail.example.org", "sender": "dpe@example.org", "security": "rot13"}, "#/security"),
    ("directory", {"servers": [], "base": "dc=example"}, "#/servers"),
    ("ssh", {"enabled": "yes"}, "#/enabled"),
]


@pytest.mark.badinput
def test_what_is_wrong_with_settings_is_said_at_its_field(call: Call) -> None:
    call("GET", "settings/general")
    count = Event.select().count()
    for area, sent, wrong in WRONG:
        assert at(call("PUT", f"settings/{area}", sent)) == [wrong], (area, sent)
    assert Event.select().count() == count


@pytest.mark.authz
def test_who_may_change_no_settings_may_not_here(call: Call) -> None:
    for path in ("settings/general", "settings/directory", "scenario", "logs", "storage", "orphans", "network"):
        assert call("GET", path, name="mary").status_code == 403, path


def test_a_directory_is_tried_before_it_is_used(call: Call) -> None:
    sent = {"servers": ["127.0.0.1:1"], "encryption": "none", "base": "dc=example,dc=org"}
    found = told(call("POST", "settings/directory/test", sent))["items"]
    assert [one["ok"] for one in found] == [False, False]  # type: ignore[attr-defined]
    assert call("POST", "directory/synchronisations", {"force": True}).status_code == 409
    assert options.get("directory") == {}
    assert call("PUT", "settings/directory", {"on": False, "none": True}).status_code == 200
    assert options.get("directory") == {"on": False, "none": True}


# -- scenario ------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(opened: Settings, tmp_path: Path, people: dict[str, Actor]) -> Settings:
    made = replace(opened, scenario=write(tmp_path, GOOD))
    scenarios.follow_folder(made)
    return made


def packed(text: str) -> bytes:
    """An export with another scenario.yml."""
    _, content = scenarios.export(scenarios.current())
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(out, "w") as new:
        for member in old.infolist():
            new.writestr(member, text if member.filename.endswith("/scenario.yml") else old.read(member))
    return out.getvalue()


@pytest.mark.usefixtures("folder")
def test_a_scenario_is_changed_exported_imported_and_gone_back_from(call: Call) -> None:
    first = call("GET", "scenario")
    assert told(first)["text"] == GOOD
    text = GOOD.replace("packages: [git]", "packages: [git, less]")
    looked = told(call("POST", "scenario/review", {"text": text}))
    assert ("notes", "seed") in [(one["name"], one["effect"]) for one in looked["classes"]]  # type: ignore[attr-defined]
    guard = {"If-Match": first.headers["ETag"]}
    assert told(call("PUT", "scenario", {"text": text, "comment": "For reading"}, **guard)) == {"changed": True, "fields": ["text"]}
    assert told(call("PUT", "scenario", {"text": text})) == {"changed": False, "fields": []}
    assert call("PUT", "scenario", {"text": GOOD}, **guard).status_code == 412
    assert Class.get_by_id("notes").spec["packages"] == ["git", "less"]

    exported = call("GET", "scenario/export")
    assert exported.mimetype == "application/zip"
    sent = told(call("PUT", "scenario/import", data=exported.data, **{"Content-Type": "application/zip"}))
    assert (sent["classes"], sent["files"], sent["seen"]) == ([], [], 2)
    assert call("DELETE", "scenario/import").status_code == 204
    sent = told(call("PUT", "scenario/import", data=packed(GOOD), **{"Content-Type": "application/zip"}))
    taken = {"digest": sent["digest"], "seen": sent["seen"]}
    assert call("POST", "scenario/import/take", {**taken, "seen": 1}).status_code == 409
    assert call("POST", "scenario/import/take", {**taken, "digest": "another"}).status_code == 409
    once = [call("POST", "scenario/import/take", taken, **{"Idempotency-Key": "one"}) for _ in range(2)]
    assert [told(one, 201)["number"] for one in once] == [3, 3]
    assert told(call("GET", "scenario"))["text"] == GOOD

    assert told(call("POST", "scenario/versions/2/restore", {"comment": "Again"}), 201)["number"] == 4
    assert [one["number"] for one in told(call("GET", "scenario/versions"))["items"]] == [4, 3, 2, 1]  # type: ignore[attr-defined]
    detail = told(call("GET", "scenario/versions/1"))
    assert (detail["made"], [one["what"] for one in detail["back"]["files"]]) == (None, ["changed"])  # type: ignore[index]
    assert call("GET", "scenario/versions/4/export").data == exported.data


def test_a_newer_scenario_is_merged_with_choices(call: Call, folder: Settings) -> None:
    told(call("PUT", "scenario", {"text": GOOD.replace("buffer: 1", "buffer: 2")}))
    (folder.scenario / "scenario.yml").write_text(GOOD.replace("buffer: 1", "buffer: 3"))
    scenarios.follow_folder(folder)
    offer = told(call("GET", "scenario/offer"))
    places = [one["place"] for one in offer["conflicts"]]  # type: ignore[attr-defined]
    assert (len(places), offer["outcome"]) == (1, "")
    choices = {places[0]: "theirs"}
    looked = told(call("POST", "scenario/offer/review", {"choices": choices}))
    assert looked["outcome"]
    merged = {"digest": offer["digest"], "choices": choices}
    assert call("POST", "scenario/offer/merge", {**merged, "outcome": "another"}).status_code == 409
    assert told(call("POST", "scenario/offer/merge", {**merged, "outcome": looked["outcome"]}), 201)["number"] == 3
    assert "buffer: 3" in str(told(call("GET", "scenario"))["text"])
    assert call("GET", "scenario/offer").status_code == 404


@pytest.mark.badinput
@pytest.mark.usefixtures("folder")
def test_what_is_wrong_with_a_scenario_has_its_line(call: Call) -> None:
    answer = call("PUT", "scenario", {"text": GOOD.replace("os: debian-13", "os: debian-31")})
    assert at(answer) == ["#/text"]
    assert "scenario.yml:6: " in answer.text
    for data in (b"", b"no zip", b"PK\x05\x06" + bytes(18)):
        assert call("PUT", "scenario/import", data=data, **{"Content-Type": "application/zip"}).status_code == 400
    assert scenarios.current().number == 1


# -- people, logs, disks -------------------------------------------------------------------------------------


def test_people_come_from_a_table_after_a_look(call: Call) -> None:
    table = "name,full_name\nlise,Lise Meitner\nmax,Max Planck"
    assert told(call("POST", "accounts/import", {"table": table, "dry_run": True})) == {"count": 2, "accounts": []}
    assert Account.get_or_none(Account.name == "lise") is None
    made = told(call("POST", "accounts/import", {"table": table}))["accounts"]
    assert [(one["name"], one["link"].startswith("https://")) for one in made] == [("lise", True), ("max", True)]  # type: ignore[attr-defined]
    answer = call("POST", "accounts/import", {"table": table, "dry_run": True})
    assert at(answer) == ["#/table", "#/table"]
    assert "Line 2: there is already an account lise" in answer.text


def test_logs_are_read_with_a_filter_and_bundled(call: Call, opened: Settings, tmp_path: Path) -> None:
    with hosted(opened, tmp_path):
        names = [one["name"] for one in told(call("GET", "logs"))["items"]]  # type: ignore[attr-defined]
        assert "engine" in names
        wrong = call("GET", "logs/engine?level=loud&most=0")
        assert wrong.json is not None
        assert [one["parameter"] for one in wrong.json["errors"]] == ["level", "most"]
        assert call("GET", "logs/nothing").status_code == 404
        begun = told(call("POST", "support-bundles"), 202)
        assert begun["title"] == "Support bundle"
        assert call("GET", "support-bundles/nothing").status_code == 404
        assert told(call("GET", "storage"))["disks"] == []
        assert call("POST", "storage/reset", {"typed": "wrong"}).status_code == 400
        assert call("POST", "power/sing").status_code == 404
        assert told(call("GET", "network"))["mode"] == "dhcp"


def test_disks_of_others_and_what_is_set_aside(call: Call, people: dict[str, Actor]) -> None:
    with catalog.write():
        disk = DataDisk.create(id="d1", account=people["ada"].account_id, machine_class="notebook", name="data", size=1)
        Aside.create(kind=AsideKind.DATA_DISK, id="lost", name="lost", account_name="ada", since=catalog.now())
    [found] = told(call("GET", "data-disks"))["items"]  # type: ignore[misc]
    assert (found["id"], found["owner"]) == (disk.id, "ada")  # type: ignore[index]
    assert told(call("POST", "data-disks/d1/rename", {"name": "thesis"}))["name"] == "thesis"
    assert call("POST", "data-disks/d1/delete", {"name": "data"}).status_code in (400, 409)
    assert call("POST", "data-disks/d1/delete", {"name": "thesis"}).status_code == 202
    assert call("GET", "data-disks", name="ada").status_code == 403
    told(call("GET", "retained-disks"))
    told(call("GET", "disk-backups"))
    [one] = told(call("GET", "orphans"))["items"]  # type: ignore[misc]
    assert call("POST", f"orphans/{one['number']}/adopt", {"account": "ada"}).status_code == 202  # type: ignore[index]
    assert Aside.get().wish == "adopt"
    assert call("DELETE", f"orphans/{one['number']}").status_code == 409  # type: ignore[index]
    assert call("POST", "orphans/decide", {"choice": "aside"}).status_code == 409


# -- secrets -------------------------------------------------------------------------------------------------


def test_no_get_has_a_field_for_a_secret(app: Flask) -> None:
    """Whatever it answers, and whatever that refers to."""
    found = document(app)
    named = re.compile(r"password|secret|passphrase|private|recovery|token", re.IGNORECASE)
    for path, methods in found["paths"].items():
        if (said := methods.get("get")) is None:
            continue
        answers = {name: one for name, one in said["responses"].items() if name < "300"}
        for name in described._reached(answers, found["components"]["schemas"]):
            fields = found["components"]["schemas"][name].get("properties", {})
            assert {one for one in fields if named.search(one)} <= {"has_password"}, (path, name)
