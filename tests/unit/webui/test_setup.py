"""The first set-up's wizard."""

import re
from html import unescape

import pytest

from appliance.catalog import Account, Class, Seed, grants, options
from appliance.services import setup
from appliance.settings import Settings
from tests import world
from tests.unit.webui.conftest import Browser

ANSWERS = {
    "name": "grace", "full_name": "Grace Hopper", "password": world.PASSWORD, "again": world.PASSWORD, "title": "Hillside School",
    "time_zone": "Europe/Berlin", "buffer-notebook": "2", "maximum-notebook": "5",
}  # fmt: skip


@pytest.fixture
def code(opened: Settings) -> str:
    """The code of an appliance that was never set up, with a class and an engine."""
    world.klass("notebook", world.NOTEBOOK)
    world.engine(world.EMULATED)
    setup.ensure_code(opened)
    return (opened.state / "setup-code").read_text().strip()


def fields(page: str) -> dict[str, str]:
    """What the form holds, as a browser would send it."""
    found = {unescape(name): unescape(value) for name, value in re.findall(r'<input[^>]* name="([^"]+)"[^>]* value="([^"]*)"', page)}
    zone = re.search(r"<option selected>([^<]+)</option>", page)
    return {**found, **({"time_zone": zone[1]} if zone else {})}


def step(page: str) -> str:
    found = re.search(r'name="step" value="(\w+)"', page)
    return found[1] if found else ""


def test_until_then_every_page_leads_to_the_wizard(visitor: Browser, code: str) -> None:
    for path in ("/", "/sign-in", "/admin/", "/account", "/setup/progress"):
        answer = visitor.get(path)
        assert (answer.status_code, answer.headers["Location"]) == (303, "/setup"), path
    assert visitor.get("/setup").status_code == 200
    assert visitor.get("/healthz").status_code == 200
    assert visitor.get("/live").status_code == 401
    assert visitor.get("/door/check").status_code == 401


def test_the_whole_way(visitor: Browser, code: str) -> None:
    page = visitor.get("/setup").text
    values = {"code": code}
    for expected in ("you", "appliance", "pools", "hardware", "review"):
        answer = visitor.post("/setup", {**fields(page), **values, "go": "next"})
        assert answer.status_code == 200
        page = answer.text
        assert step(page) == expected
        values = ANSWERS
    assert "Grace Hopper" in page
    assert "2 ready, 5 at most" in page
    answer = visitor.post("/setup", {**fields(page), "go": "finish"})
    assert (answer.status_code, answer.headers["Location"]) == (303, "/setup/progress")
    account = Account.get()
    assert account.name == "grace"
    assert grants.owners() == {account.id}
    assert (options.get("title"), options.get("time_zone")) == ("Hillside School", "Europe/Berlin")
    assert (Class.get().buffer, Class.get().maximum) == (2, 5)
    assert Seed.get().version == 1
    assert "getting ready" in visitor.get("/setup/progress").text
    assert visitor.get("/setup").headers["Location"] == "/"


def test_htmx_is_sent_on_by_a_header(visitor: Browser, code: str) -> None:
    visitor.get("/setup")
    answer = visitor.post("/setup", {**ANSWERS, "code": code, "step": "review", "go": "finish"}, **{"HX-Request": "true"})
    assert (answer.status_code, answer.headers["HX-Redirect"]) == (200, "/setup/progress")


@pytest.mark.badinput
def test_without_the_code_nothing_is_told(visitor: Browser, code: str) -> None:
    visitor.get("/setup")
    answer = visitor.post("/setup", {"code": "AAAA-BBBB-CCCC", "step": "code", "go": "next"})
    assert answer.status_code == 400
    assert "That is not the setup code." in answer.text
    assert "AAAA-BBBB-CCCC" in answer.text
    assert "Notebook" not in answer.text
    answer = visitor.post("/setup", {**ANSWERS, "code": "AAAA-BBBB-CCCC", "step": "review", "go": "finish"})
    assert (answer.status_code, Account.select().count()) == (400, 0)


@pytest.mark.badinput
def test_codes_cannot_be_guessed_for_long(visitor: Browser, code: str) -> None:
    visitor.get("/setup")
    for _ in range(6):
        visitor.post("/setup", {"code": "AAAA-BBBB-CCCC", "step": "code", "go": "next"})
    answer = visitor.post("/setup", {"code": code, "step": "code", "go": "next"})
    assert "Too many failed attempts. Try again in" in answer.text


@pytest.mark.badinput
@pytest.mark.parametrize(
    ("at", "wrong", "words"),
    [
        ("you", {"name": "0 bad"}, "starting with a letter"),
        ("you", {"password": "short", "again": "short"}, "at least 10 characters"),
        ("you", {"again": "something else"}, "The two passwords differ."),
        ("appliance", {"title": "  "}, "needs a name"),
        ("appliance", {"title": "x" * 61}, "needs a name"),
        ("appliance", {"time_zone": "Europe/Atlantis"}, "no time zone"),
        ("pools", {"buffer-notebook": "many"}, "Write a whole number"),
        ("pools", {"buffer-notebook": "-1"}, "Write a whole number"),
        ("pools", {"buffer-notebook": "6"}, "6 ready machines do not fit under a maximum of 5."),
    ],
)  # fmt: skip
def test_an_error_stands_at_its_field_and_nothing_is_lost(visitor: Browser, code: str, at: str, wrong: dict[str, str], words: str) -> None:
    visitor.get("/setup")
    sent = {**ANSWERS, **wrong, "code": code}
    answer = visitor.post("/setup", {**sent, "step": at, "go": "next"})
    assert answer.status_code == 400
    assert step(answer.text) == at
    assert words in unescape(answer.text)
    kept = fields(answer.text)
    assert {name: kept[name] for name in sent} == sent
    # A step before it is checked again by whoever jumps over it.
    jumped = visitor.post("/setup", {**sent, "step": "review", "go": "finish"})
    assert (jumped.status_code, step(jumped.text), Account.select().count()) == (400, at, 0)


def test_going_back_keeps_what_was_typed_and_asks_nothing(visitor: Browser, code: str) -> None:
    visitor.get("/setup")
    sent = {**ANSWERS, "code": code, "buffer-notebook": "nonsense"}
    answer = visitor.post("/setup", {**sent, "step": "pools", "go": "back"})
    assert (answer.status_code, step(answer.text)) == (200, "appliance")
    kept = fields(answer.text)
    assert {name: kept[name] for name in sent} == sent


def test_the_hardware_in_plain_words(visitor: Browser, code: str) -> None:
    visitor.get("/setup")
    page = visitor.post("/setup", {**ANSWERS, "code": code, "step": "pools", "go": "next"}).text
    assert "Machines are emulated" in page
    assert "/dev/kvm opens, but a test machine did not run on it." in page


def test_an_engine_that_has_not_spoken_does_not_block_the_way(visitor: Browser, opened: Settings) -> None:
    setup.ensure_code(opened)
    code = (opened.state / "setup-code").read_text().strip()
    visitor.get("/setup")
    page = visitor.post("/setup", {**ANSWERS, "code": code, "step": "pools", "go": "next"}).text
    assert step(page) == "hardware"
    assert "Not known yet" in page
