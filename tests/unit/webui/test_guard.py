"""Who may call what, and what every answer carries."""

import re
from http.cookies import SimpleCookie

import pytest
from flask import Flask
from werkzeug.routing import IntegerConverter

from appliance import catalog
from appliance.catalog import (
    Account,
    Actor,
    DataDisk,
    KeptDisk,
    Machine,
    MachineState,
    Request,
    Seed,
    SeedState,
    Sequence,
    Session,
    VersionState,
    Webhook,
    runs,
    sequences,
)
from appliance.settings import Settings
from tests import packages, world
from tests.unit.webui import marked
from tests.unit.webui.conftest import HOST, Browser
from webui import create_app
from webui.guard import PUBLIC, Need
from webui.moved import MOVED


def addresses(app: Flask, method: str) -> list[tuple[str, Need]]:
    """Every address that takes the method, with values that exist, and who may call it."""
    machine = Machine.get(Machine.state == MachineState.IN_USE)
    values = {
        "seeds": Seed.get(Seed.state == SeedState.BUILDING).id, "accounts": Account.get(Account.name == "mary").id, "portal": machine.id, "console": machine.id,
        "signins": Account.get(Account.name == "mary").id, "machines": machine.id, "portal.cancel": Request.get().id, "portal.extend_together": Request.get().id, "portal.release_together": Request.get().id, "auth": "0" * 64, "api": machine.id, "units": 1, "groups": 1, "grants.why": Account.get(Account.name == "mary").id, "grants": 1, "security": 1,
    }  # fmt: skip
    found = []
    with app.test_request_context():
        adapter = app.create_url_adapter(None) or app.url_map.bind("appliance.test")
        for rule in app.url_map.iter_rules():
            if method in (rule.methods or ()) and rule.endpoint != "static":
                area = rule.endpoint.split(".")[0]
                thing = values.get(rule.endpoint, values.get(area, 1))
                is_number = isinstance(rule._converters.get("id"), IntegerConverter)
                arguments = {
                    "id": 1 if is_number and not isinstance(thing, int) else thing,
                    "name": "notebook",
                    "session_id": "0" * 64,
                    "token_id": 1,
                    "number": 1,
                    "token": "1.1.x",
                    "verb": "stop",
                    "what": "restart",
                    "key": "buffer",
                    "rest": "more",
                    "area": "machines",
                    "release": "debian-13",
                    "package": "git",
                    "application": "pages",
                }
                path = adapter.build(rule.endpoint, {name: arguments[name] for name in rule.arguments}, method=method)
                found.append((path, app.view_functions[rule.endpoint].need))  # type: ignore[attr-defined]
    return found


def test_every_view_says_who_may_call_it(app: Flask) -> None:
    silent = [rule.endpoint for rule in app.url_map.iter_rules() if not hasattr(app.view_functions[rule.endpoint], "need")]
    assert silent == []


def test_a_view_that_does_not_say_is_not_served(opened: Settings, people: dict[str, Actor]) -> None:
    app = create_app(opened)
    app.add_url_rule("/forgotten", "forgotten", lambda: "secret")
    answer = app.test_client().get("/forgotten", base_url=HOST)
    assert answer.status_code == 500
    assert b"secret" not in answer.data


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_strangers_get_to_public_pages_only(app: Flask, people: dict[str, Actor], visitor: Browser, method: str) -> None:
    visitor.get("/sign-in")
    for path, need in addresses(app, method):
        if need.permission == PUBLIC:
            continue
        answer = visitor.get(path) if method == "GET" else visitor.post(path)
        where = answer.headers.get("Location", "")
        assert (answer.status_code == 303 and where.startswith("/sign-in")) or answer.status_code == 401, path


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_people_do_not_get_to_admins_pages(app: Flask, ada: Browser, method: str) -> None:
    paths = [path for path, need in addresses(app, method) if need.permission not in (PUBLIC, "own", "machines.use") and not need.own]
    assert len(paths) >= 10
    for path in paths:
        answer = ada.get(path) if method == "GET" else ada.post(path)
        assert answer.status_code == 403, path
        assert "not for you" in answer.text


@pytest.fixture
def a_run(people: dict[str, Actor]) -> None:
    """Run number 1, disks that are called 1, a sequence that is called as a class is, and all that there can be of a scenario."""
    world.scenario()
    grace = people["grace"].account_id
    with catalog.write():
        assert runs.begin_run("make", class_name="notebook") == 1
        Sequence.create(name="notebook", title="Notebook")
        sequences.add("notebook", "{}", VersionState.PROMOTED)
        DataDisk.create(id="1", account=grace, machine_class="notebook", name="data", size=1)
        KeptDisk.create(
            id="1",
            machine_name="notebook-1",
            account=grace,
            machine_class="notebook",
            seed=Seed.get().id,
            size=8,
            bytes=1,
            until=catalog.now(),
        )


@pytest.fixture
def a_webhook(people: object) -> None:
    """Webhook 1."""
    with catalog.write():
        Webhook.create(name="House", url="https://example.org", secret="sealed", position=0)


# What the world of the tests is made of, and what is called the same in every language: nobody translates it.
DATA = re.compile(
    r"""
    [a-z_]+(\.[a-z_]+)+ | https?://\S+ | Hillside\ School | Science | Mathematics | Workshop | Everybody | analysts | Those\ who\ look\ after\ the\ studio | (Made|As\ it)\ came | More\ memory
    | Grace\ Hopper | Ada\ Lovelace | Alan\ Turing | Mary\ Somerville | \b(grace|ada|alan|mary|root|engine|House|data|vm)\b
    | Notebooks? | notebook(-\d+)? | studio(-\d+)? | Statistics | statistics\ studio | Grace | eth0 | \buid\b | \bmail\b | entryUUID | displayName\ cn | \([&|]?\(?[a-zA-Z]+=.* | \bR\ and\ its .* | JupyterLab\ with .* | Everyone\ gets .*
    | [Tt]he\ package\ r-base-studio .* | Correct\ its\ name .* | jupyterlab .*
    | \b(min|UTC|MiB|GiB|KiB|[A-Z]{2,}[\w.-]*|[a-z_]+:\ .*)\b | Debian(\ \d+\ \(\w+\))? | debian-13 | git(-man)? | less | perl | vcs | libcurl3-gnutls | nginx-light | fast,\ scalable .*
    | PostgreSQL | Prometheus | Redis | DokuWiki | JupyterLab | Apache-2\.0 | ~/Pages | \b(Pages|pages|Inside|heading|listing|user|inside|full_name|email|password|name|machine)\b
    | English | Deutsch | Français | Español | Italiano | Marked | Intel | AMD | QEMU\ [\d.]+ | libvirt\ [\d.]+ | \[Errno\ 2\].*\bdirectory | [\w.]+@example\.org | (account|class|group):\w+
    | (?<!\S)(\S*/\S* | [\w.-]+\.(yml|whl) | \w{8}-\w{4}-\S+ | [\da-f.:]+[.:][\da-f.:]+,?) | (dc|cn|uid|ou)=\S+ | size | packages | sign_in | \d+\ [hd]\b
    """,
    re.VERBOSE,
)


@pytest.mark.i18n
@pytest.mark.usefixtures("a_run", "a_webhook")
def test_every_page_opens_for_an_admin_whole_and_live(app: Flask, grace: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole it is asked for in a language whose texts are marked, so that what is in English alone shows."""
    marked.speak(monkeypatch)
    english = {}
    packages.write(app.config["SETTINGS"].packages)
    for path, _ in addresses(app, "GET"):
        if (
            path.startswith("/choose/")  # of a class that leaves nothing open there is no such page: test_choices.py
            or path in ("/app.webmanifest", "/service-worker.js", "/offline")  # test_pwa.py
            or path.startswith(("/door/", "/enter"))  # questions of nginx, and the way to a machine's name: test_machine_names.py
            or path in ("/live", "/healthz", "/readyz", "/metrics", "/setup", "/sign-in", "/sign-in/code")
            or path.endswith(("/log", "/export", "/console.vv", "/console.rdp", "/picture", "/screen", "/zip"))
            or path == "/admin/own-applications/sent"  # only while something waits: test_applications.py
            or path.startswith(
                ("/api/", "/download/", "/admin/workflow/sequences/notebook/")
            )  # files; of a sequence: parts of its page, too
            or path.startswith("/guide/")  # texts by their names: test_guide.py
            or path.startswith(
                ("/admin/server/support/", "/admin/server/network/", "/admin/server/backups/", "/setup/restore")
            )  # files, parts of a page, what is being tried, and what set-up alone has
        ):
            continue
        whole, live = grace.get(path, **{"Accept-Language": marked.NAME}), grace.live(path)
        if whole.status_code == live.status_code == 308:  # moved: test_moved.py
            assert path.startswith(tuple(old.split("<")[0] for old in MOVED)), path
            continue
        if (
            whole.status_code == live.status_code == 503
        ):  # what only dpe-host can show, which is not there: tests of their own have a real one
            assert path.startswith("/admin/server/")
            assert "(dpe-host) does not answer" in whole.text
            english[path] = marked.unsaid(whole.text, DATA)
            continue
        assert whole.status_code == live.status_code == 200, path
        assert len(marked.plain(whole.get_data())) < 60_000, path
        assert whole.text.lstrip().startswith("<!doctype html>"), path
        assert live.text.lstrip().startswith('<div id="live"'), path
        assert "<html" not in live.text, path
        if not path.startswith(
            ("/docs/api", "/admin/settings")
        ):  # calls and their fields are documented in English; names of countries and time zones
            english[path] = marked.unsaid(whole.text, DATA)
    assert {path: found for path, found in english.items() if found} == {}


@pytest.mark.badinput
@pytest.mark.usefixtures("a_run")
def test_every_post_wants_the_token(app: Flask, grace: Browser) -> None:
    # The API asks first whether the thing is one's own; test_api has its token.
    paths = [
        path
        for path, need in addresses(app, "POST")
        if not path.startswith("/api/") and need.permission != PUBLIC and need != Need("own", "request", "id")
    ]
    for path in [*paths, "/sign-in"]:
        answer = grace.post(path, csrf=False)
        assert answer.status_code == 400, path
        assert "nothing was changed" in answer.text


def test_a_token_in_the_header_will_do(ada: Browser) -> None:
    answer = ada.post("/request", {"class": "notebook"}, csrf=False, **{"X-CSRFToken": ada.token})
    assert answer.status_code == 303


def test_others_machines_do_not_exist(ada: Browser, people: dict[str, Actor]) -> None:
    machine = Machine.get(Machine.owner == people["mary"].account_id)
    for verb in ("extend", "release"):
        assert ada.post(f"/machines/{machine.id}/{verb}").status_code == 404
    assert Machine.get(Machine.id == machine.id).state is MachineState.IN_USE
    request = Request.get(Request.account == people["alan"].account_id)
    assert ada.post(f"/requests/{request.id}/cancel").status_code == 404


def test_headers_of_every_answer(ada: Browser) -> None:
    for path in ("/", "/nothing-here", "/healthz", "/static/css/app.css"):
        with ada.get(path) as answer:
            headers = answer.headers
        policy = headers["Content-Security-Policy"]
        assert "default-src 'self'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "same-origin"
    assert ada.get("/").headers["Cache-Control"] == "no-store"


def test_the_session_cookie(visitor: Browser, people: dict[str, Actor]) -> None:
    visitor.get("/sign-in")
    answer = visitor.post("/sign-in", {"name": "ada", "password": "correct horse battery"})
    cookie = SimpleCookie(answer.headers["Set-Cookie"])["__Host-Http-dpe"]
    assert (cookie["secure"], cookie["httponly"], cookie["samesite"], cookie["path"], cookie["domain"]) == (True, True, "Lax", "/", "")


def test_one_proxy_is_believed_and_no_more(visitor: Browser, people: dict[str, Actor]) -> None:
    visitor.get("/sign-in")
    visitor.post(
        "/sign-in",
        {"name": "ada", "password": "correct horse battery"},
        **{"X-Forwarded-For": "203.0.113.9, 192.0.2.1", "X-Forwarded-Host": "evil"},
    )
    assert Session.get().address == "192.0.2.1"


def test_a_bug_is_a_friendly_page_with_a_number_that_is_in_the_log(
    app: Flask, ada: Browser, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("the secret inside")

    monkeypatch.setattr("webui.portal.machines.offers", broken)
    answer = ada.get("/")
    assert answer.status_code == 500
    assert "secret" not in answer.text
    number = re.search(r"number ([0-9a-f]{8})", answer.text)
    assert number is not None
    assert number[1] in caplog.text
    assert "the secret inside" in caplog.text


def test_errors_for_htmx_land_among_the_messages(ada: Browser) -> None:
    answer = ada.post("/request", {"class": "nothing"}, **{"HX-Request": "true", "HX-Target": "div#live"})
    assert answer.status_code == 404
    assert 'hx-swap-oob="beforeend:#messages"' in answer.text
    assert "<html" not in answer.text


def test_htmx_is_sent_to_sign_in_when_the_session_is_over(ada: Browser) -> None:
    Session.delete().execute()
    answer = ada.live("/")
    assert answer.status_code == 401
    assert answer.headers["HX-Redirect"].startswith("/sign-in")


def test_the_secret_is_made_once_and_for_us_alone(opened: Settings) -> None:
    opened.web_secret.unlink(missing_ok=True)
    first = create_app(opened).secret_key
    assert opened.web_secret.stat().st_mode & 0o777 == 0o600
    assert len(first or b"") >= 32
    assert create_app(opened).secret_key == first
