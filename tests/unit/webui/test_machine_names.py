"""Machines by names: what the door is answered there, how a browser comes in, and the page where an admin switches it."""

from collections.abc import Callable
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from flask import Flask

from appliance import catalog
from appliance.catalog import Actor, Event, Lease, Machine, MachineState, Session, machines, options
from appliance.errors import BadInput
from appliance.services import machine_names
from tests.pages import is_at
from tests.unit.webui.conftest import Browser

pytestmark = [pytest.mark.hostile, pytest.mark.revoked]

DOMAIN = "dpe.example.org"
PAGE = "/admin/server/machine-names"
DOOR = "__Host-Http-dpe-door"


@pytest.fixture
def named(people: dict[str, Actor]) -> str:
    """Machines have names; the one of Ada's notebook."""
    with catalog.write():
        options.put("address", "https://appliance.test:8443")
        options.put("machine_names", DOMAIN)
    found: str = Machine.get(Machine.owner == people["ada"].account_id).host_label
    return found


class Door:
    """nginx's questions about a browser's requests below a machine's name: of all cookies it tells the one of this name alone."""

    def __init__(self, app: Flask, name: str) -> None:
        self.app, self.name, self.cookie = app, name, ""

    def ask(self, path: str, **headers: str) -> tuple[int, dict[str, str]]:
        heads = {"Host": f"{self.name}.{DOMAIN}:8443", "X-DPE-Name": self.name, "Cookie": self.cookie, **headers}
        answer = self.app.test_client(use_cookies=False).get(path, base_url="https://appliance.test:8443", headers=heads)
        if kept := answer.headers.get("Set-Cookie"):
            assert sorted(part.strip() for part in kept.split(";")[1:]) == ["HttpOnly", "Path=/", "SameSite=Lax", "Secure"]
            self.cookie = kept.partition(";")[0]
        return answer.status_code, dict(answer.headers)

    def check(self, uri: str = "/lab?x=1", **headers: str) -> tuple[int, dict[str, str]]:
        return self.ask("/door/check", **{"X-DPE-Uri": uri, **headers})

    def come_in(self, browser: Browser, uri: str = "/lab?x=1") -> str:
        """As a browser does that was sent to sign in and is: returns the path that it ends with."""
        location = self.check(uri)[1]["X-DPE-Location"].removeprefix("https://appliance.test:8443")
        there = urlsplit(browser.get(location).headers["Location"])
        assert (there.scheme, there.netloc, there.path) == ("https", f"{self.name}.{DOMAIN}:8443", "/_dpe/enter")
        status, headers = self.ask(f"/door/enter?{there.query}")
        assert status == 302
        return headers["Location"]


@pytest.fixture
def door(app: Flask, named: str) -> Door:
    return Door(app, named)


def test_who_comes_to_a_name_signs_in_on_the_page_and_comes_back(
    app: Flask, visitor: Browser, door: Door, people: dict[str, Actor]
) -> None:
    status, headers = door.check("/lab?x=1&y=%2F")
    assert status == 401
    address = urlsplit(headers["X-DPE-Location"])
    assert (address.netloc, address.path) == ("appliance.test:8443", "/enter")
    assert parse_qs(address.query) == {"to": [f"https://{door.name}.{DOMAIN}:8443/lab?x=1&y=%2F"]}
    asked = visitor.get(f"{address.path}?{address.query}")
    assert asked.status_code == 303
    page = visitor.get(asked.headers["Location"])
    assert f"form-action 'self' https://appliance.test:* https://*.{DOMAIN}:8443" in page.headers["Content-Security-Policy"]
    signed_in = visitor.sign_in("ada", next=parse_qs(urlsplit(asked.headers["Location"]).query)["next"][0])
    assert signed_in.headers["Location"] == f"{address.path}?{address.query}"
    assert door.come_in(visitor) == "/lab?x=1"
    assert door.cookie.startswith(f"{DOOR}=")
    status, headers = door.check()
    machine = Machine.get(Machine.host_label == door.name)
    assert (status, headers["X-DPE-Ticket"]) == (200, f"{Session.get().id} {machine.id}")
    assert "X-DPE-Clear" not in headers, "nobody had this name before"


def test_the_cookie_of_a_name_opens_nothing_else_and_the_pages_own_opens_no_name(app: Flask, ada: Browser, door: Door) -> None:
    door.come_in(ada)
    client = app.test_client(use_cookies=False)
    assert client.get("/", base_url="https://appliance.test:8443", headers={"Cookie": door.cookie}).status_code == 303
    other = Door(app, f"{door.name}-1")
    other.cookie = door.cookie
    assert other.check()[0] == 401
    assert door.check(**{"X-DPE-Name": "", "X-DPE-Port": str(9000 + Machine.get(Machine.host_label == door.name).door)})[0] == 401
    kept = ada.client.get_cookie("__Host-Http-dpe", domain="appliance.test")
    assert kept is not None
    door.cookie = f"{kept.key}={kept.value}"
    assert door.check()[0] == 401


def test_a_code_that_was_used_brings_the_browser_back_to_the_page(ada: Browser, door: Door) -> None:
    there = urlsplit(ada.get(f"/enter?{urlencode({'to': f'https://{door.name}.{DOMAIN}:8443/lab'})}").headers["Location"])
    assert door.ask(f"/door/enter?{there.query}")[1]["Location"] == "/lab"
    door.cookie = ""
    status, headers = door.ask(f"/door/enter?{there.query}")
    assert (status, headers["Location"], headers.get("Set-Cookie")) == (302, "/lab", None)
    assert door.check()[0] == 401
    assert door.ask("/door/enter?to=//evil.org")[1]["Location"] == "/"


@pytest.mark.parametrize("who", ["alan", "grace"])
def test_who_may_not_is_told_on_the_page(signed_in: Callable[[str], Browser], door: Door, who: str) -> None:
    browser = signed_in(who)
    answer = browser.get(f"/enter?{urlencode({'to': f'https://{door.name}.{DOMAIN}:8443/'})}")
    assert answer.status_code == (302 if who == "grace" else 403)
    assert browser.get("/enter?to=https://evil.org/").status_code == 404
    assert browser.get("/enter").status_code == 404
    if who == "grace":
        door.come_in(browser)
        assert door.check()[0] == 200
        assert Event.select().where(Event.kind == "machine.entered").count() == 1


def sign_out(ada: Browser) -> None:
    ada.get("/account")
    assert ada.post("/sign-out").status_code == 303


def give_back(ada: Browser) -> None:
    ada.get("/")
    assert ada.post(f"/machines/{Machine.get(Machine.owner == Session.get().account_id).id}/release").status_code == 303


@pytest.mark.parametrize(("end", "status"), [(sign_out, 401), (give_back, 403)])
def test_what_ends_the_right_ends_it_here(ada: Browser, door: Door, end: Callable[[Browser], None], status: int) -> None:
    door.come_in(ada)
    assert door.check()[0] == 200
    end(ada)
    assert door.check()[0] == status


def test_the_next_holder_has_another_name_and_the_former_one_nothing(
    signed_in: Callable[[str], Browser], app: Flask, door: Door, people: dict[str, Actor]
) -> None:
    ada, alan = signed_in("ada"), signed_in("alan")
    door.come_in(ada)
    machine = Machine.get(Machine.host_label == door.name)
    with catalog.write():
        Machine.update(owner=people["alan"].account_id).where(Machine.id == machine.id).execute()
    assert door.check()[1]["X-DPE-Page"] == "nobody"
    his = Door(app, Machine.get(Machine.id == machine.id).host_label)
    his.come_in(alan)
    assert his.check()[0] == 200
    assert alan.get(f"/enter?{urlencode({'to': f'https://{door.name}.{DOMAIN}:8443/'})}").status_code == 404
    assert ada.get(f"/enter?{urlencode({'to': f'https://{his.name}.{DOMAIN}:8443/'})}").status_code == 403


def test_a_machine_that_is_yet_to_be_ready_says_so_under_its_name(ada: Browser, door: Door) -> None:
    with catalog.write():
        machines.change(Machine.get(Machine.host_label == door.name).id, machines.LIVE, MachineState.ASSIGNED)
    door.come_in(ada)
    assert door.check()[1]["X-DPE-Page"] == "starting"


def test_who_comes_by_the_port_is_sent_to_the_name_and_what_is_open_there_goes_on(ada: Browser, door: Door) -> None:
    port = str(9000 + Machine.get(Machine.host_label == door.name).door)

    def ask(navigates: str) -> tuple[int, str | None]:
        answer = ada.get("/door/check", **{"X-DPE-Port": port, "X-DPE-Uri": "/lab?x=1", "X-DPE-Navigates": navigates})
        return answer.status_code, answer.headers.get("X-DPE-Location")

    there = f"https://{door.name}.{DOMAIN}:8443/lab?x=1"
    assert [ask("page"), ask("form"), ask("")] == [(401, there), (401, there), (200, None)]
    door.come_in(ada)
    assert door.check()[0] == 200
    with catalog.write():
        options.put("machine_names", "")
    opened = ada.get("/door/check", **{"X-DPE-Port": port, "X-DPE-Uri": "/", "X-DPE-Navigates": "page"})
    assert (opened.status_code, opened.headers["X-DPE-Clear"]) == (200, '"storage"'), "by its port it was not opened yet"
    assert ask("page") == (200, None)
    assert Lease.get(Lease.machine == Machine.get(Machine.host_label == door.name).id).opened_at is not None
    assert door.check()[1]["X-DPE-Page"] == "nobody", "until nginx has heard of it"


def test_links_lead_to_the_name(ada: Browser, grace: Browser, door: Door) -> None:
    link = f'href="https://{door.name}.{DOMAIN}:8443/lab"'
    assert link in ada.get("/").text
    assert f">{door.name}.{DOMAIN}:8443</dd>" in grace.get(f"/admin/machines/{Machine.get(Machine.host_label == door.name).id}").text
    assert door.ask("/door/portal")[1]["Location"] == "https://appliance.test:8443/"
    with catalog.write():
        options.put("machine_names", "")
    assert link not in ada.get("/").text
    assert "Published port" in grace.get(f"/admin/machines/{Machine.get(Machine.host_label == door.name).id}").text


# -- the page ----------------------------------------------------------------------------------------


@pytest.fixture
def checked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """All that is tried works; the domains for which it was."""
    found: list[str] = []
    monkeypatch.setattr(machine_names.server, "certificate", lambda _settings: None)
    monkeypatch.setattr(machine_names, "_check", lambda domain, _certificate: found.append(domain))
    return found


def test_an_admin_switches_names_on_and_off(grace: Browser, checked: list[str]) -> None:
    assert "By ports" in grace.get(PAGE).text
    assert grace.post(PAGE, {"domain": f"*.{DOMAIN}"}).status_code == 303
    assert checked == [DOMAIN]
    page = grace.get(PAGE).text
    assert "By names" in page
    assert f'value="{DOMAIN}"' in page
    assert f"Machines have names below {DOMAIN}" in grace.get("/admin/server/").text.replace('<span class="mono text-break">', "").replace(
        "</span>", ""
    )
    assert grace.post(PAGE, {"domain": ""}).status_code == 303
    assert (machine_names.domain(), checked) == ("", [DOMAIN])
    assert "By ports" in grace.get(PAGE).text


def test_what_does_not_work_yet_is_said_at_the_field_and_loses_nothing(grace: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> str:
        raise BadInput("There is no host called x.", "Have your name server answer.", field="domain")

    monkeypatch.setattr(machine_names, "switch", refuse)
    grace.get(PAGE)
    answer = grace.post(PAGE, {"domain": "what.i.typed"})
    assert answer.status_code == 400
    assert "There is no host called x." in answer.text
    assert 'value="what.i.typed"' in answer.text
    assert is_at("domain", answer.text)


def test_only_an_admin_may(ada: Browser, checked: list[str]) -> None:
    assert ada.get(PAGE).status_code == 403
    assert ada.post(PAGE, {"domain": DOMAIN}).status_code == 403
    assert checked == []
