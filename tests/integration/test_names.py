"""Machines by names on the page's port, for real: the check that lets an admin switch them on, nginx and the web process, and what machines do there."""

import json
import re
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import psutil
import pytest

from appliance import catalog
from appliance.access import machine_names as nginx_names
from appliance.catalog import Account, Actor, Machine, MachineState, machines
from appliance.errors import BadInput
from appliance.host.system import certificate
from appliance.services import machine_names, preferences, server, sessions
from appliance.settings import Settings
from tests.integration.test_door import (
    DOMAIN,
    ENDS,
    OTHER,
    OWN,
    PAGE,
    Answer,
    Browser,
    account_id,
    admin,
    door,
    ends_within,
    held,
    lives,
    raw,
    running,
    sixty,
    websocket,
    workers,
)
from tests.waiting import until

__all__ = ["door"]

pytestmark = [pytest.mark.hostile, pytest.mark.cookies]


@pytest.fixture(scope="module")
def here() -> Iterator[None]:
    """Whoever asks for a host below the domain finds this one."""
    find = socket.getaddrinfo

    def resolve(host: Any, *args: Any, **more: Any) -> Any:
        return find("127.0.0.1" if str(host).endswith(f".{DOMAIN}") else host, *args, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", resolve)
        patch.setattr(server, "certificate", certificate.read_served)  # as dpe-host tells it
        yield


def serve(door: Settings) -> None:
    """The engine's part, and the supervisor's."""
    master = next(child for child in running[door].children if child.name == "nginx")
    before = workers(master)
    nginx_names.serve(door, machine_names.domain())
    running[door]._renew_door()
    until(lambda: not any(psutil.pid_exists(pid) for pid in before))


@pytest.fixture(scope="module")
def named(door: Settings, here: None) -> Iterator[Settings]:
    """An admin has switched names on, in this appliance's own page; its certificate is one that the appliance made for the domain."""
    preferences.set_address(admin(), f"https://localhost:{door.https_port}")
    machine_names.switch(admin(), door, DOMAIN)
    serve(door)
    yield door
    machine_names.switch(admin(), door, "")
    serve(door)


def name_of(slot: int) -> str:
    found: str = Machine.get(Machine.slot == slot, Machine.state != MachineState.RETIRED).host_label
    return found


def open_page(browser: Browser, name: str, path: str = "/") -> Answer:
    """What a browser sees in the end that follows where it is sent: to the page, and back below the name."""
    slot: str | None = name
    for _ in range(4):
        answer = browser.ask(path, slot, headers=PAGE)
        if answer.status not in (302, 303):
            break
        there = urlsplit(answer.headers["Location"])
        slot = slot if not there.hostname else name if there.hostname == f"{name}.{DOMAIN}" else None
        path = f"{there.path}?{there.query}" if there.query else there.path
    return answer


@pytest.fixture(scope="module")
def ada(named: Settings) -> Browser:
    return Browser(named).sign_in("ada")


@pytest.fixture(scope="module")
def bob(named: Settings) -> Browser:
    return Browser(named).sign_in("bob")


def test_the_owner_reaches_the_application_which_never_sees_a_cookie_of_ours(named: Settings, ada: Browser) -> None:
    name = name_of(OWN)
    path = "/lab/tree/a%20b%2Fc?x=1&y=%2F&z=a+b"
    seen = json.loads(open_page(ada, name, path).body)
    assert seen["path"] == path
    assert list(ada.named[name]) == ["__Host-Http-dpe-door"]
    headers = {key.lower(): value for key, value in seen["headers"].items()}
    assert headers["host"] == f"{name}.{DOMAIN}:{named.https_port}"
    assert "cookie" not in headers
    ada.named[name]["_xsrf"] = "2|a"
    ada.named[name]["__Host-Http-dpe"] = ada.cookies["__Host-Http-dpe"]  # which no browser would send here
    assert json.loads(ada.ask("/", name).body)["headers"]["Cookie"] == "_xsrf=2|a"
    del ada.named[name]["__Host-Http-dpe"]


def test_others_and_strangers_do_not(named: Settings, bob: Browser) -> None:
    name = name_of(OWN)
    answer = open_page(bob, name)
    assert (answer.status, name in bob.named and bob.named[name]) == (403, {})
    assert b"This is not your machine" in answer.body
    stranger = Browser(named)
    answer = stranger.ask("/lab?x=1", name, headers=PAGE)
    address = urlsplit(answer.headers["Location"])
    assert (answer.status, address.netloc, address.path) == (302, f"localhost:{named.https_port}", "/enter")
    assert parse_qs(address.query) == {"to": [f"https://{name}.{DOMAIN}:{named.https_port}/lab?x=1"]}
    for lie in ({"X-DPE-Name": name}, {"X-DPE-Port": str(named.app_port + OTHER), "X-DPE-Uri": "/x"}):
        assert bob.ask("/", name, headers={**PAGE, **lie}).status == 302
    assert b"There is no machine here" not in bob.ask("/", name_of(OTHER)).body


def test_the_doors_own_questions_cannot_be_asked_from_outside(ada: Browser) -> None:
    name = name_of(OWN)
    open_page(ada, name)
    assert ada.ask("/_dpe/door", name).status == 404
    assert json.loads(ada.ask("/door/check", name).body)["path"] == "/door/check", "below a name it is an address of the machine"
    for path in ("/door/enter?code=x", "/door/portal", "/door/check"):
        assert ada.ask(path).status == 404
    portal = ada.ask("/_dpe/portal", name, headers=PAGE)
    assert (portal.status, portal.headers["Location"]) == (302, f"https://localhost:{ada.settings.https_port}/")


def test_a_code_is_good_once(named: Settings, ada: Browser) -> None:
    name = name_of(OWN)
    there = urlsplit(ada.ask(f"/enter?to=https://{name}.{DOMAIN}:{named.https_port}/lab", headers=PAGE).headers["Location"])
    first, second = Browser(named), Browser(named)
    answers = [one.ask(f"{there.path}?{there.query}", name, headers=PAGE) for one in (first, second)]
    assert [answer.headers["Location"] for answer in answers] == ["/lab", "/lab"]
    kept = answers[0].headers["Set-Cookie"]
    assert re.fullmatch(r"__Host-Http-dpe-door=[\w=-]+; Secure; HttpOnly; Path=/; SameSite=Lax", kept)
    assert answers[1].headers["Set-Cookie"] is None
    assert [one.ask("/", name, headers=PAGE).status for one in (first, second)] == [200, 302]


@pytest.mark.revoked
def test_who_is_signed_out_signs_in_in_another_tab_and_goes_on(named: Settings) -> None:
    with held(named, "eve") as machine:
        name, eve = Machine.get(Machine.id == machine.id).host_label, Browser(named).sign_in("eve")
        open_page(eve, name)
        sessions.end_others(Actor("eve", account_id("eve"), ""), "")
        script = {"Sec-Fetch-Mode": "cors", "Sec-Fetch-Site": "same-origin"}
        form = {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Site": "same-origin", "Accept": "text/html"}
        asked = eve.ask("/api", name, "PUT", b"x", headers=script)
        assert (asked.status, "in another tab" in json.loads(asked.body)["message"]) == (401, True)
        sent = eve.ask("/save", name, "POST", b"x=1", headers=form)
        assert (sent.status, b'<a href="/" target="_blank"' in sent.body) == (401, True)
        eve.sign_in("eve")
        assert eve.ask("/save", name, "POST", b"x=1", headers=form).status == 401, "the cookie of this name is of the session before"
        open_page(eve, name)
        assert eve.ask("/save", name, "POST", b"x=1", headers=form).body == b"3"
        assert eve.ask("/api", name, headers=script).status == 200


@pytest.mark.parametrize("site", ["same-site", "cross-site"])
def test_no_page_of_another_machine_acts_in_the_persons_name(ada: Browser, site: str) -> None:
    name = name_of(OWN)
    open_page(ada, name)
    other = ada.origin(name_of(OTHER))
    for headers in ({"Sec-Fetch-Site": site, "Sec-Fetch-Mode": "cors", "Origin": other}, {"Origin": other}):
        assert ada.ask("/", name, headers=headers).status == 403
        assert ada.ask("/", headers=headers).status == 403
    assert ada.ask("/", name, headers={"Sec-Fetch-Site": site, "Sec-Fetch-Mode": "navigate"}).status == 200


def test_a_machine_can_set_no_cookie_beyond_its_own_name(ada: Browser) -> None:
    name = name_of(OWN)
    open_page(ada, name)
    tossed = ada.ask("/tossed", name).headers.get_all("Set-Cookie") or []
    assert len(tossed) == 3
    assert not [one for one in tossed if "domain" in one.lower()]
    assert not [one for one in tossed if one.startswith("__Host-") and "secure" in one.lower()], "which browsers refuse"


@pytest.mark.revoked
@pytest.mark.parametrize("end", ENDS, ids=lambda end: end.__name__.strip("_"))
def test_what_is_open_ends_with_the_right_to_it(named: Settings, end: Callable[[Browser, Machine], None]) -> None:
    with held(named, "eve") as machine:
        name = Machine.get(Machine.id == machine.id).host_label
        eve = Browser(named).sign_in("eve")
        assert open_page(eve, name).status == 200
        socket, download = websocket(eve, machine, name), raw(eve, name, "/endless")
        assert download.recv(1 << 10)
        try:
            assert lives(socket)
            end(eve, machine)
            begun = time.monotonic()
            assert ends_within(socket, 2.0)
            assert ends_within(download, 2.0 - (time.monotonic() - begun))
            assert eve.ask("/", name, headers=PAGE).status in (302, 403)
        finally:
            socket.close()
            download.close()
            with catalog.write():
                Account.update(disabled=False).where(Account.name == "eve").execute()


def test_sixty_machines_in_one_browser(named: Settings) -> None:
    """As by ports, and each machine has a name that none had before."""

    def slot_of(machine: Machine) -> str:
        found: str = Machine.get(Machine.id == machine.id).host_label
        return found

    slots, browser = sixty(named, slot_of)
    assert len(slots) == 60
    status, page = browser.ask("/")
    assert status == 200
    assert "Sign out" in page
    with held(named, "eve") as machine:
        assert browser.ask("/page", slot_of(machine)) == (200, '<link rel="icon" href="data:,">')


def test_what_leads_elsewhere_is_found_before_it_is_switched(named: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """By connections and certificates as they are; each of the sentences has a case in tests/unit/services."""
    with pytest.raises(BadInput, match="There is no host called"):
        machine_names.switch(admin(), named, "nowhere.invalid")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        page = f"https://localhost:{silent.getsockname()[1]}"
        monkeypatch.setattr(machine_names.address, "known", lambda: page)
        monkeypatch.setattr(machine_names, "SECONDS", 0.2)
        with pytest.raises(BadInput, match=r"leads to 127\.0\.0\.1, where nobody answers on port"):
            machine_names.switch(admin(), named, DOMAIN)
    monkeypatch.undo()
    ours = certificate.read_served(named)
    monkeypatch.setattr(server, "certificate", lambda _: ours.model_copy(update={"fingerprint": "00"}))
    with pytest.raises(BadInput, match="something else answers"):
        machine_names.switch(admin(), named, DOMAIN)
    assert machine_names.domain() == DOMAIN


def test_ports_lead_to_names_and_back_when_they_are_switched_off(named: Settings, ada: Browser) -> None:
    machine = Machine.get(Machine.slot == OWN)
    answer = ada.ask("/lab?x=1", machine.door, headers=PAGE)
    assert (answer.status, answer.headers["Location"]) == (302, f"{ada.origin(machine.host_label)}/lab?x=1")
    script = {"Sec-Fetch-Mode": "cors", "Sec-Fetch-Site": "same-origin"}
    assert ada.ask("/save", machine.door, "PUT", b"x", headers=script).status == 501, "of a page that was open: it reaches the application"
    assert ada.ask("/save", machine.door, "POST", b"x", headers=script).body == b"1"
    assert ada.ask("/save", machine.door, "POST", b"x", headers={**PAGE, "Accept": "text/html"}).status == 401
    machine_names.switch(admin(), named, "")
    serve(named)
    try:
        assert ada.ask("/lab?x=1", machine.door, headers=PAGE).status == 200
        elsewhere = ada.ask("/", machine.host_label, headers=PAGE)
        assert (elsewhere.status, urlsplit(elsewhere.headers["Location"]).path) == (303, "/sign-in"), "any other name is the page's"
    finally:
        machine_names.switch(admin(), named, DOMAIN)
        serve(named)
    assert open_page(ada, machine.host_label).status == 200
    assert machines.labelled(machine.host_label) is not None
