"""Names of machines: that whoever gets one gets another name, how the sign-in is handed over to it, and what is tried before they have names."""

import hashlib
import re
import socket
from collections.abc import Callable
from datetime import timedelta
from types import SimpleNamespace
from urllib.parse import parse_qs, urlsplit

import pytest

from appliance import catalog, connect, durable
from appliance.access import machine_names as names
from appliance.catalog import Account, Actor, Event, Machine, MachineState, Session, doorbell, machines, now, options
from appliance.errors import BadInput, NotAllowed, NotFound
from appliance.host.interface.access import Certificate
from appliance.identity import secrets
from appliance.services import machine_names, one_shot, server
from appliance.services import machines as verbs
from appliance.settings import Settings

pytestmark = [pytest.mark.hostile, pytest.mark.revoked]
DOMAIN = "dpe.example.org"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Seconds since some moment, which a test sets."""
    clock = SimpleNamespace(at=1000.0)
    monkeypatch.setattr(one_shot.time, "monotonic", lambda: clock.at)
    return clock


@pytest.fixture
def named(opened: Settings) -> None:
    """Machines have names."""
    durable.write(opened.web_secret, b"k" * 32)
    secrets.open(opened.web_secret)
    with catalog.write():
        options.put("address", "https://portal.example.org:8443")
        options.put("machine_names", DOMAIN)


def session(who: Actor, id: str) -> str:
    with catalog.write():
        Session.insert(id=id, account=who.account_id, expires_at=now() + timedelta(hours=1)).execute()
    return id


def label(id: str) -> str:
    found: str = Machine.get(Machine.id == id).host_label
    return found


def claim(actor: Actor) -> str:
    id = verbs.request(actor, "small").machine_id
    assert id
    return id


# -- names -------------------------------------------------------------------------------------------


def test_whoever_gets_a_machine_gets_another_name_and_keeps_it(ready, alice, bob):
    ready(1)
    waiting = Machine.get().host_label
    id = claim(alice)
    hers = label(id)
    with catalog.write():
        machines.change(id, [MachineState.ASSIGNED], MachineState.IN_USE)
    assert label(id) == hers, "as long as she holds it"
    with catalog.write():
        Machine.update(owner=bob.account_id).where(Machine.id == id).execute()
    his = label(id)
    assert machines.labelled(his).id == id
    assert machines.labelled(hers) is machines.labelled(waiting) is None
    with catalog.write():
        machines.change(id, machines.LIVE, MachineState.RECLAIMING, owner=None)
    gone = label(id)
    assert len({waiting, hers, his, gone}) == 4
    assert all(names.parse(one) == (one, 0) for one in (waiting, hers, his, gone))
    with catalog.write():
        machines.change(id, machines.LIVE, MachineState.RETIRED)
    assert machines.labelled(gone) is None


def test_a_name_has_the_pages_port_where_that_is_another_than_browsers_think_of(named):
    assert machine_names.origin("m1") == f"https://m1.{DOMAIN}:8443"
    for address, below in (("https://portal.example.org", f".{DOMAIN}"), ("https://portal.example.org:443", f".{DOMAIN}")):
        with catalog.write():
            options.put("address", address)
        assert machine_names.below() == below
    with catalog.write():
        options.put("machine_names", "")
    assert machine_names.origin("m1") == machine_names.below() == ""


# -- the sign-in is handed over -----------------------------------------------------------------------


@pytest.fixture
def hers(ready: Callable[[int], list[Machine]], alice: Actor, named: None, clock: SimpleNamespace) -> str:
    """The name of a machine that Alice holds, who is signed in."""
    ready(2)
    name = label(claim(alice))
    session(alice, "hers")
    return name


def code_of(address: str) -> str:
    return parse_qs(urlsplit(address).query)["code"][0]


def test_a_code_becomes_the_cookie_of_one_name_and_dies_with_the_session(alice: Actor, hers: str) -> None:
    there = machine_names.hand_over(alice, "hers", f"https://{hers}.{DOMAIN}:8443/lab/a%20b?x=1&y=%2F")
    address = urlsplit(there)
    assert (address.scheme, address.netloc, address.path) == ("https", f"{hers}.{DOMAIN}:8443", "/_dpe/enter")
    assert parse_qs(address.query)["to"] == ["/lab/a%20b?x=1&y=%2F"]
    cookie = machine_names.redeem(code_of(there), hers)
    found = machine_names.session_of(cookie, hers)
    assert found is not None
    assert (found.id, found.account.name) == ("hers", "alice")
    assert "hers" not in cookie
    assert machine_names.session_of(cookie, f"{hers}-1") is None
    assert (
        machine_names.session_of(cookie[:-4] + "AAAA", hers)
        is machine_names.session_of("", hers)
        is machine_names.session_of("é", hers)
        is None
    )
    with catalog.write():
        Session.delete().execute()
    assert machine_names.session_of(cookie, hers) is None


def test_a_code_is_good_once_for_its_name_for_half_a_minute_and_while_the_session_goes_on(
    alice: Actor, hers: str, clock: SimpleNamespace
) -> None:
    def code() -> str:
        return code_of(machine_names.hand_over(alice, "hers", f"https://{hers}.{DOMAIN}:8443/"))

    assert machine_names.redeem(given := code(), hers)
    assert machine_names.redeem(given, hers) == ""
    assert machine_names.redeem(given := code(), f"{hers}-1") == ""
    assert machine_names.redeem(given, hers) == "", "the try used it up"
    given = code()
    clock.at += 31
    assert machine_names.redeem(given, hers) == ""
    given = code()
    with catalog.write():
        Account.update(disabled=True).where(Account.name == "alice").execute()
    assert machine_names.redeem(given, hers) == ""
    assert machine_names.redeem("", hers) == ""


@pytest.mark.parametrize(
    "to",
    [
        "", "/", "https://evil.org/", "https://{0}.evil.org:8443/", "https://{0}.dpe.example.org/", "https://{0}.dpe.example.org:84430/",
        "https://{0}.dpe.example.org:8443@evil.org/", "https://{0}.dpe.example.org:8443.evil.org/", "http://{0}.dpe.example.org:8443/",
        "https://{0}xdpe.example.org:8443/", "https://evil.org/https://{0}.dpe.example.org:8443/", "https://m0000000000000000.dpe.example.org:8443/",
        "https://{0}-1.dpe.example.org:8443/",
    ],
)  # fmt: skip
def test_nobody_is_sent_elsewhere(alice: Actor, hers: str, to: str) -> None:
    with pytest.raises(NotFound):
        machine_names.hand_over(alice, "hers", to.format(hers))


@pytest.mark.parametrize("path", ["//evil.org", "/\\evil.org", "/a\\b", "/a b", "/a\n", "evil", ""])
def test_nor_by_a_path(path: str) -> None:
    assert machine_names.own_path(path) == "/"


def test_others_get_no_code(bob: Actor, hers: str) -> None:
    with pytest.raises(NotAllowed):
        machine_names.hand_over(bob, session(bob, "his"), f"https://{hers}.{DOMAIN}:8443/")


# -- before machines have names ------------------------------------------------------------------------


@pytest.fixture
def tried(opened: Settings, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """What the check finds of the world; all is well unless a test says otherwise."""
    world = SimpleNamespace(names=["portal.example.org", f"*.{DOMAIN}"], leads=["192.0.2.10"], shown=b"ours", rung=0, asked=[])

    def certificate(_settings: Settings) -> Certificate:
        at, said = now(), hashlib.sha256(b"ours").digest().hex(":").upper()
        return Certificate(own=True, problem="", fingerprint=said, names=world.names, begins=at, ends=at, issuer="us", key="k", chain=[])

    def resolve(host: str, port: int, _seconds: float) -> list[tuple[object, ...]]:
        world.asked.append(host)
        if not world.leads:
            raise socket.gaierror(socket.EAI_NONAME, "no such name")
        return [(0, 0, 0, "", (one, port)) for one in world.leads]

    def shown(host: str, port: int, name: str, _seconds: float) -> bytes:
        assert (port, name) == (8443, world.asked[-1])
        if not world.shown or host == "192.0.2.99":
            raise ConnectionRefusedError
        return bytes(world.shown)

    monkeypatch.setattr(server, "certificate", certificate)
    monkeypatch.setattr(connect, "resolve", resolve)
    monkeypatch.setattr(connect, "certificate_of", shown)
    monkeypatch.setattr(doorbell, "ring", lambda: setattr(world, "rung", world.rung + 1))
    with catalog.write():
        options.put("address", "https://portal.example.org:8443")
    return world


def test_names_are_switched_on_and_off_and_both_are_on_record(admin: Actor, opened: Settings, tried: SimpleNamespace) -> None:
    assert machine_names.switch(admin, opened, f"*.{DOMAIN.upper()}") == DOMAIN
    assert machine_names.domain() == DOMAIN
    [asked] = tried.asked
    assert names.is_machines(asked, DOMAIN), "a name that nobody could have made an entry for"
    assert machine_names.switch(admin, opened, "") == ""
    assert (machine_names.domain(), tried.rung) == ("", 2)
    said = [(one.message, one.data["after"]) for one in Event.select().where(Event.kind == "settings.changed").order_by(Event.id)]
    assert said == [
        (f"admin gave machines names below {DOMAIN}.", {"machine_names": DOMAIN}),
        ("admin had machines reached by ports again.", {"machine_names": ""}),
    ]
    machine_names.switch(admin, opened, "")
    assert Event.select().where(Event.kind == "settings.changed").count() == 2


@pytest.mark.badinput
@pytest.mark.parametrize(
    ("change", "message", "hint"),
    [
        ({"address": ""}, "not known by which address", "external URL"),
        ({"address": "http://portal.example.org"}, "not known by which address", "external URL"),
        ({"leads": []}, "There is no host called m[0-9a-f]{16}.dpe.example.org", r"answer for \*.dpe.example.org"),
        ({"shown": b""}, "leads to 192.0.2.10, where nobody answers on port 8443", "firewall"),
        (
            {"leads": ["192.0.2.10", "192.0.2.99"]},
            "leads to 192.0.2.99, where nobody answers",
            r"\*.dpe.example.org lead to this server alone",
        ),
        ({"shown": b"another"}, "something else answers", r"\*.dpe.example.org lead to this server"),
        (
            {"names": ["portal.example.org", "*.example.org"]},
            r"is not for \*.dpe.example.org: it is for portal.example.org, \*.example.org",
            "Get one",
        ),
    ],
)
def test_what_does_not_work_yet_is_said_with_what_to_do_and_changes_nothing(
    admin: Actor, opened: Settings, tried: SimpleNamespace, change: dict[str, object], message: str, hint: str
) -> None:
    for name, value in change.items():
        setattr(tried, name, value)
    if "address" in change:
        with catalog.write():
            options.put("address", change["address"])
    with pytest.raises(BadInput, match=message) as refused:
        machine_names.switch(admin, opened, DOMAIN)
    assert refused.value.field == "domain"
    assert re.search(hint, refused.value.hint)
    assert machine_names.domain() == ""
    assert not Event.select().where(Event.kind == "settings.changed").exists()
