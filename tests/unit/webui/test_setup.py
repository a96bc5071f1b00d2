"""The first set-up's wizard."""

import io
import re
from collections.abc import Iterator
from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from appliance import catalog
from appliance.catalog import Account, Aside, AsideKind, Class, MachineState, Seed, SeedState, grants, options, seeds
from appliance.errors import Conflict
from appliance.host.disks import inventory
from appliance.host.interface import disks
from appliance.host.system import config, hardware, image, network, network_trial
from appliance.identity import directory_settings
from appliance.services import class_specs, directory, scenarios, setup
from appliance.services.scenario_adoption import adopt_scenario
from appliance.settings import Settings
from tests import world
from tests.hosted import do_instead, serving
from tests.pages import Page, forms_of, is_at
from tests.unit.scenario.test_load import GOOD, write
from tests.unit.scenario.test_tree import packed
from tests.unit.webui.conftest import Browser

ANSWERS = {
    "name": "grace", "full_name": "Grace Hopper", "password": world.PASSWORD, "again": world.PASSWORD, "title": "Hillside School",
    "time_zone": "Europe/Berlin", "buffer-notebook": "2", "maximum-notebook": "5",
}  # fmt: skip


@pytest.fixture
def code(opened: Settings) -> str:
    """The code of an appliance that was never set up, with a class and an engine."""
    world.machine_class("notebook", world.NOTEBOOK)
    world.engine(world.EMULATED)
    setup.ensure_code(opened)
    return (opened.state / "setup-code").read_text().strip()


def fields(page: str) -> dict[str, str]:
    """What the form holds, as a browser would send it."""
    return next(form.values for form in forms_of(page) if form.action == "/setup")


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
    for expected in ("you", "appliance", "pools", "directory", "hardware", "review"):
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


@pytest.mark.lost
def test_it_says_that_machines_of_an_earlier_catalog_are_here(visitor: Browser, code: str) -> None:
    with catalog.write():
        Aside.create(kind=AsideKind.MACHINE, id="an-id", name="notebook-99", account_name="ada")
    page = visitor.get("/setup").text
    assert "of an earlier catalog" not in page  # nobody has shown the code yet
    page = visitor.post("/setup", {**fields(page), "code": code, "go": "next"}).text
    assert "1 machine or disk of an earlier catalog is here." in " ".join(page.replace("<strong>", "").replace("</strong>", "").split())
    assert "Nothing of it is removed" in page


def test_htmx_is_sent_on_by_a_header(visitor: Browser, code: str) -> None:
    visitor.get("/setup")
    answer = visitor.post("/setup", {**ANSWERS, "code": code, "step": "review", "go": "finish"}, **{"HX-Request": "true"})
    assert (answer.status_code, answer.headers["HX-Redirect"]) == (200, "/setup/progress")


def test_a_seed_that_came_with_the_image_is_not_built_and_the_first_machine_is_offered(visitor: Browser, code: str) -> None:
    seed = world.seed("notebook", 1, SeedState.BUILDING, manifest={"shipped": "/usr/share/dpe/seeds/notebook"})
    visitor.get("/setup")
    page = visitor.post("/setup", {**ANSWERS, "code": code, "step": "hardware", "go": "next"}).text
    assert "came with the appliance" in page
    assert "and build" not in page
    visitor.post("/setup", {**ANSWERS, "code": code, "step": "review", "go": "finish"})
    page = visitor.get("/setup/progress").text
    assert "is being put in its place" in page
    assert "Get the first machine" not in page
    assert Seed.select().count() == 1
    with catalog.write():
        Seed.update(state=SeedState.READY, manifest={}).where(Seed.id == seed.id).execute()
        seeds.promote(Seed.get())
    world.snapshot(Seed.get())
    assert "The first machines are being made" in visitor.get("/setup/progress").text
    world.machine(Class.get(), MachineState.READY)
    page = visitor.get("/setup/progress").text
    assert "1 machine stands ready." in page
    assert 'href="/"' in page.split("Get the first machine")[0].rsplit("<a", 1)[1]


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
        ("pools", {"buffer-notebook": "x"}, "Ready and waiting of Notebook: Write a whole number"),
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


def test_the_hardware_in_plain_words(visitor: Browser, code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found = hardware.Hardware("Great CPU", 8, True, True, True, False, 32768, 500 << 10, 400 << 10, False, [])
    monkeypatch.setattr(hardware, "read_hardware", lambda settings: found)
    visitor.get("/setup")
    page = visitor.post("/setup", {**ANSWERS, "code": code, "step": "directory", "go": "next"}).text
    assert "Hardware virtualisation is there, but is not used" in page
    assert "KVM is there, but a guest of a few instructions did not run in it." in page
    assert "8 processors: Great CPU" in page
    assert re.search(r"This server can hold \d+ notebooks\.", page)


def test_an_engine_that_has_not_spoken_does_not_block_the_way(visitor: Browser, opened: Settings) -> None:
    setup.ensure_code(opened)
    code = (opened.state / "setup-code").read_text().strip()
    visitor.get("/setup")
    page = visitor.post("/setup", {**ANSWERS, "code": code, "step": "directory", "go": "next"}).text
    assert step(page) == "hardware"
    assert "processor" in page


# -- a directory ------------------------------------------------------------------------------------------

DIRECTORY = {"dir_use": "yes", "dir_servers": "ldap.example.org", "dir_base": "dc=example,dc=org", "dir_kind": "ldap"}


@pytest.mark.badinput
@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"dir_servers": ""}, "Name at least one server."),
        ({"dir_servers": "ldap://x"}, "is not a server's name"),
        ({"dir_base": "example.org"}, "is not a place in a directory"),
        ({"dir_bind_dn": "cn=reader"}, "The reading account's password is missing."),
        ({"dir_authority": "nonsense"}, "certificate"),
    ],
)
@pytest.mark.parametrize("go", ["next", "test"])
def test_a_directory_that_cannot_be_is_refused_at_its_place(
    visitor: Browser, code: str, wrong: dict[str, str], words: str, go: str
) -> None:
    visitor.get("/setup")
    sent = {**ANSWERS, "code": code, **DIRECTORY, **wrong}
    answer = visitor.post("/setup", {**sent, "step": "directory", "go": go})
    assert (answer.status_code, step(answer.text)) == (400, "directory")
    assert words in unescape(answer.text)
    kept = fields(answer.text)
    assert kept["password"] == world.PASSWORD
    assert all(kept[name] == sent[name] for name in ("dir_servers", "dir_base"))


def test_a_directory_is_tested_and_then_used(visitor: Browser, code: str) -> None:
    visitor.get("/setup")
    nobody = {**ANSWERS, "code": code, **DIRECTORY, "dir_servers": "localhost:1"}
    page = visitor.post("/setup", {**nobody, "step": "directory", "go": "test"}).text
    assert "The test found something to look at." in page
    assert "localhost:1" in page
    answer = visitor.post("/setup", {**nobody, "step": "review", "go": "finish"})
    assert answer.headers["Location"] == "/setup/progress"
    assert directory.is_on()
    assert directory.entered()["servers"] == ["localhost:1"]


def test_what_was_typed_of_a_directory_that_is_not_wanted_is_no_error(visitor: Browser, code: str) -> None:
    visitor.get("/setup")
    answer = visitor.post("/setup", {**ANSWERS, "code": code, "dir_use": "", "dir_base": "x", "step": "directory", "go": "next"})
    assert (answer.status_code, step(answer.text)) == (200, "hardware")


def test_that_there_is_no_directory_is_said_once_and_asked_no_more(visitor: Browser, code: str) -> None:
    visitor.get("/setup")
    sent = {**ANSWERS, "code": code, "dir_use": "none", "dir_servers": "ldap://x"}
    assert visitor.post("/setup", {**sent, "step": "review", "go": "finish"}).headers["Location"] == "/setup/progress"
    assert directory_settings.is_none()
    assert not directory.is_on()
    assert 'data-kind="connect-directory"' not in visitor.get("/needs/").text


# -- the server itself, in the image ------------------------------------------------------------------------

CARD = network.Card("enp1s0", "52:54:00:00:00:01", connected=True, speed=1000, addresses=["192.0.2.10/24"])
DISKS = [
    inventory.Disk("/dev/vda", "First", "A1", 64 << 30, "system", [], "The appliance itself is on it."),
    inventory.Disk("/dev/vdb", "Empty SSD", "B2", 500 << 30, "empty", []),
    inventory.Disk("/dev/vdc", "Old disk", "C3", 500 << 30, "foreign", ["Windows data (NTFS), 500 GB"]),
]
FIXED = {"net_mode": "static", "net_card": "enp1s0", "net_address": "192.0.2.20/24", "net_gateway": "192.0.2.1", "net_dns": "192.0.2.1",
         "net_name": "dpe-lab"}  # fmt: skip


@pytest.fixture
def image_of(code: str, opened: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """As in the bootable image, with a dpe-host: what was done to the server."""
    done: list[Any] = []
    built = image.Image(version="1.2.3", built_at="2026-11-21T10:00:00+00:00", scenario="notebook")
    monkeypatch.setattr(image, "boot_image", lambda *_: built)
    monkeypatch.setattr(network, "cards", lambda *_: [CARD])
    monkeypatch.setattr(network, "holder", lambda card, address: "52:54:00:99:99:99" if address == "192.0.2.66" else "")
    monkeypatch.setattr(network, "_use", lambda *args, **_: done.append((args[-1].hostname, args[-1].network.address)))
    monkeypatch.setattr(network, "PAUSE", 0.0)
    monkeypatch.setattr(network.tls, "add_names", lambda *_: "")
    monkeypatch.setattr(inventory, "disks", lambda *_: DISKS)
    do_instead(monkeypatch, disks.USE, lambda args, host: done.append((args.disk, args.typed)))
    with serving(opened) as server:
        yield done
        assert server.operations.wait(10)


def test_the_image_asks_for_network_and_storage_too(visitor: Browser, code: str, image_of: list[Any], opened: Settings) -> None:
    page = visitor.get("/setup").text
    assert "Restore from a backup instead" in page
    values, seen = {"code": code}, []
    for _ in range(8):
        answer = visitor.post("/setup", {**fields(page), **values, "net_mode": "dhcp", "go": "next"})
        assert answer.status_code == 200
        page = answer.text
        seen.append(step(page))
        values = ANSWERS
    assert seen == ["network", "you", "appliance", "storage", "pools", "directory", "hardware", "review"]
    assert image_of == []  # nothing was changed
    answer = visitor.post("/setup", {**fields(page), "go": "finish"})
    assert answer.headers["Location"] == "/setup/progress"


def test_another_network_is_tried_and_kept_by_whoever_comes_over_it(
    visitor: Browser, code: str, image_of: list[Any], opened: Settings
) -> None:
    visitor.get("/setup")
    sent = {**ANSWERS, "code": code, **FIXED}
    page = unescape(visitor.post("/setup", {**sent, "step": "network", "go": "next"}).text)
    assert step(page) == "network"
    assert "The network is being changed" in page
    link = re.search(r'href="(https://192\.0\.2\.20:8443/admin/server/network/keep/[^"]+)"', page)
    assert link
    network.step(opened)  # its time has come
    assert image_of == [("dpe-lab", ""), ("dpe-lab", "192.0.2.20/24")]
    assert config.read(opened)[0].network.mode == "dhcp"
    answer = visitor.post("/setup", {**fields(page), "step": "network", "go": "next"})
    assert (answer.status_code, step(answer.text)) == (200, "you")
    assert config.read(opened)[0].network.address == "192.0.2.20/24"
    assert fields(answer.text)["name"] == "grace"


def test_a_network_that_nobody_keeps_is_gone_and_what_was_typed_is_not(
    visitor: Browser, code: str, image_of: list[Any], opened: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    visitor.get("/setup")
    sent = {**ANSWERS, "code": code, **FIXED}
    page = visitor.post("/setup", {**sent, "step": "network", "go": "next"}).text
    network.step(opened)
    clock = network_trial.clock() + 1000
    monkeypatch.setattr(network_trial, "clock", lambda: clock)
    network.step(opened)
    assert image_of[-1] == ("dpe-lab", "")
    page = visitor.post("/setup", {**fields(page), "step": "network", "go": "network"}).text
    assert "The old settings are in use again" in page
    assert fields(page)["net_address"] == "192.0.2.20/24"


def test_a_network_on_trial_is_taken_back(visitor: Browser, code: str, image_of: list[Any], opened: Settings) -> None:
    visitor.get("/setup")
    page = visitor.post("/setup", {**ANSWERS, "code": code, **FIXED, "step": "network", "go": "next"}).text
    network.step(opened)
    page = visitor.post("/setup", {**fields(page), "step": "network", "go": "undo"}).text
    assert "The old settings are in use again" in page
    assert config.read(opened)[0].network.mode == "dhcp"


@pytest.mark.badinput
@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"net_address": "192.0.2.20"}, "has no prefix"),
        ({"net_address": ""}, "The address is missing."),
        ({"net_address": "192.0.2.66/24"}, "in use already"),
        ({"net_gateway": "198.51.100.1"}, "is not in the network of the address"),
        ({"net_dns": "nameserver"}, "is no IP address"),
        ({"net_name": "Große Kiste"}, "cannot be a host name"),
        ({"net_card": "wlan7"}, "There is no network interface"),
    ],
)
def test_a_network_that_cannot_be_is_refused_at_its_place(
    visitor: Browser, code: str, image_of: list[Any], wrong: dict[str, str], words: str
) -> None:
    visitor.get("/setup")
    sent = {**ANSWERS, "code": code, **FIXED, "net_name": "dpe", **wrong}
    answer = visitor.post("/setup", {**sent, "step": "network", "go": "next"})
    assert (answer.status_code, step(answer.text)) == (400, "network")
    assert words in unescape(answer.text)
    kept = fields(answer.text)
    assert all(kept[name] == sent[name] for name in ("net_address", "net_gateway", "net_dns", "net_name", "password"))
    assert all(address == "" for _, address in image_of)


def test_a_second_disk_is_given_to_data_at_the_end(visitor: Browser, code: str, image_of: list[Any]) -> None:
    visitor.get("/setup")
    sent = {**ANSWERS, "code": code, "net_mode": "dhcp", "disk": "/dev/vdc"}
    answer = visitor.post("/setup", {**sent, "step": "storage", "go": "next"})
    assert (answer.status_code, step(answer.text)) == (400, "storage")
    assert "type C3" in answer.text
    answer = visitor.post("/setup", {**sent, "disk_word": "C3", "step": "storage", "go": "next"})
    assert step(answer.text) == "pools"
    assert image_of == []
    visitor.post("/setup", {**sent, "disk_word": "C3", "step": "review", "go": "finish"})
    assert "being moved to the second disk" in visitor.get("/setup/progress").text
    assert image_of == [("/dev/vdc", "C3")]


@pytest.mark.badinput
@pytest.mark.parametrize("disk", ["/dev/vda", "/dev/vdx"])
def test_a_disk_that_cannot_be_given_is_refused(visitor: Browser, code: str, image_of: list[Any], disk: str) -> None:
    visitor.get("/setup")
    answer = visitor.post("/setup", {**ANSWERS, "code": code, "net_mode": "dhcp", "disk": disk, "step": "storage", "go": "next"})
    assert (answer.status_code, step(answer.text)) == (400, "storage")


def test_while_dpe_host_is_away_the_wizard_goes_on(visitor: Browser, code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    built = image.Image(version="1.2.3", built_at="2026-11-21T10:00:00+00:00", scenario="notebook")
    monkeypatch.setattr(image, "boot_image", lambda *_: built)
    page, values = visitor.get("/setup").text, {"code": code}
    for expected in ("network", "you", "appliance", "storage", "pools"):
        page = visitor.post("/setup", {**fields(page), **values, "go": "next"}).text
        assert step(page) == expected
        values = ANSWERS
    assert "does not answer" not in page


# -- every step ---------------------------------------------------------------------------------------------

EVERYTHING = {
    **ANSWERS, **FIXED, **DIRECTORY, "net_name": "dpe", "disk": "/dev/vdb", "dir_encryption": "ldaps",
    "dir_servers": "a.example.org\nb.example.org", "dir_bind_dn": "cn=reader,dc=example,dc=org", "dir_password": "the reader's",
}  # fmt: skip


@pytest.mark.badinput
@pytest.mark.parametrize(
    ("at", "wrong", "at_fields"),
    [
        ("network", {"net_mode": "token ring"}, ["net_mode"]),
        ("network", {"net_card": "wlan7"}, ["net_card"]),
        ("network", {"net_address": "192.0.2.20", "net_name": "Große Kiste"}, ["net_address", "net_name"]),
        ("network", {"net_address": "192.0.2.66/24"}, ["net_address"]),
        ("network", {"net_gateway": "198.51.100.1"}, ["net_gateway"]),
        ("network", {"net_dns": "nameserver"}, ["net_dns"]),
        ("you", {"name": "0 bad", "password": "short"}, ["name", "password"]),
        ("you", {"again": "something else"}, ["again"]),
        ("appliance", {"title": "  ", "time_zone": "Europe/Atlantis"}, ["title", "time_zone"]),
        ("storage", {"disk": "/dev/vda"}, ["disk"]),
        ("storage", {"disk": "/dev/vdc", "disk_word": "B2"}, ["disk_word"]),
        ("pools", {"buffer-notebook": "many", "maximum-notebook": "{more}"}, ["buffer-notebook", "maximum-notebook"]),
        ("pools", {"buffer-notebook": "6"}, ["buffer-notebook"]),
        ("directory", {"dir_kind": "nis"}, ["dir_kind"]),
        ("directory", {"dir_servers": "ldap://x", "dir_base": "here"}, ["dir_servers", "dir_base"]),
        ("directory", {"dir_password": "", "dir_authority": "nonsense"}, ["dir_password", "dir_authority"]),
    ],
)
def test_what_is_wrong_in_a_step_is_at_its_fields_and_in_a_summary_and_no_other_step_loses_anything(
    visitor: Browser, code: str, image_of: list[Any], at: str, wrong: dict[str, str], at_fields: list[str]
) -> None:
    visitor.get("/setup")
    sent = {**EVERYTHING, **wrong, "code": code}
    answer = visitor.post("/setup", {**sent, "step": at, "go": "next"})
    assert (answer.status_code, step(answer.text)) == (400, at)
    for field in at_fields:
        assert is_at(field, answer.text), field
    kept = fields(answer.text)
    assert [name for name in sent if kept.get(name) != sent[name]] == ([] if "disk" not in at_fields else ["disk"])


@pytest.mark.badinput
def test_a_wrong_code_is_at_its_field_which_keeps_the_focus(visitor: Browser, code: str) -> None:
    visitor.get("/setup")
    page = Page(visitor.post("/setup", {"code": "AAAA-BBBB-CCCC", "step": "code", "go": "next"}).text)
    field = page.by(id="f-code")
    assert ("autofocus" in field, field["aria-invalid"], "e-code" in field["aria-describedby"].split()) == (True, "true", True)
    assert page.by(href="#f-code")
    assert "autofocus" not in page.by(role="alert")


def test_forms_that_are_not_shown_go_along_whole(visitor: Browser, code: str, image_of: list[Any]) -> None:
    visitor.get("/setup")
    sent = {**EVERYTHING, "code": code}
    for at in ("network", "you", "appliance", "storage", "pools", "directory", "hardware", "review"):
        kept = fields(visitor.post("/setup", {**sent, "step": "review", "go": at}).text)
        assert {name: kept.get(name) for name in sent} == sent, at


@pytest.fixture
def shipped(code: str, opened: Settings, tmp_path: Path) -> str:
    """The code of an appliance whose engine has taken in the scenario that came with it."""
    scenarios.follow_folder(replace(opened, scenario=write(tmp_path, GOOD)))
    adopt_scenario(class_specs.scenario())
    return code


def at_pools(visitor: Browser, code: str, **values: Any) -> str:
    visitor.get("/setup")
    sent = {**ANSWERS, "code": code, "step": "pools", "go": "machines", **values}
    return unescape(visitor.post("/setup/machines", sent).text)


def test_the_machines_are_those_that_came_a_class_of_the_catalogue_or_an_import(visitor: Browser, shipped: str) -> None:
    page = at_pools(visitor, shipped, step="appliance", go="next")
    assert (step(page), "maximum-notes" in page, fields(page)["scenario_from"]) == ("pools", True, "shipped")
    refused = at_pools(visitor, shipped, scenario_from="class", scenario_application="prometheus", scenario_os="debian-13")
    assert "does not run on that release" in refused
    page = at_pools(visitor, shipped, scenario_from="class", scenario_application="dokuwiki", scenario_os="debian-13")
    assert [one.name for one in setup.offered()] == ["dokuwiki"]
    assert fields(page)["maximum-dokuwiki"] == "4"
    assert "maximum-notes" not in page
    page = at_pools(visitor, shipped, scenario_from="shipped")
    assert [one.name for one in setup.offered()] == ["notes"]
    assert "No file was sent." in at_pools(visitor, shipped, scenario_from="import")
    broken = packed({"scenario.yml": GOOD.replace("os: debian-13", "os: debian-99")})
    assert "scenario.yml, line " in at_pools(visitor, shipped, scenario_from="import", scenario_file=(io.BytesIO(broken), "x.zip"))
    sent = packed({"scenario.yml": GOOD.replace("  notes:", "  maps:"), "roles/web/tasks/main.yml": "- command: id\n"})
    page = at_pools(visitor, shipped, scenario_from="import", scenario_file=(io.BytesIO(sent), "x.zip"))
    assert [one.name for one in setup.offered()] == ["maps"]
    assert not Seed.select().exists(), "nothing is built before the end"
    answer = visitor.post("/setup", {**fields(page), "buffer-maps": "1", "maximum-maps": "2", "step": "review", "go": "finish"})
    assert answer.status_code == 303, answer.text
    assert [seed.class_name for seed in Seed.select()] == ["maps"]
    assert (Class.get_by_id("maps").maximum, Class.get_by_id("notes").enabled) == (2, False)


@pytest.mark.badinput
def test_nobody_chooses_machines_without_the_code_or_once_it_is_set_up(visitor: Browser, shipped: str, opened: Settings) -> None:
    at_pools(visitor, "AAAA-BBBB-CCCC", scenario_from="class", scenario_application="dokuwiki")
    assert [one.name for one in setup.offered()] == ["notes"]
    with catalog.write():
        options.put("setup_done", True)
    with pytest.raises(Conflict):
        setup.choose_class("dokuwiki", "debian-13", "")
