"""Guesses are slowed down, and nobody else is: many people behind one address, strangers who know a name, a clock that was ahead."""

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest

from appliance import catalog
from appliance.catalog import Account, Throttle, now, options, sessions
from appliance.errors import BadInput, NotAllowed
from appliance.identity import passwords, throttle
from appliance.services import sessions as verbs
from appliance.services import setup
from appliance.settings import Settings

pytestmark = pytest.mark.cases
RIGHT, NAT, STRANGER = "correct horse battery", "192.0.2.1", "203.0.113.9"


@pytest.fixture
def people(opened: Settings) -> dict[str, Account]:
    hashed = passwords.digest(RIGHT)
    with catalog.write():
        return {name: Account.create(name=name, password=hashed) for name in ("anna", "ben", "carl", "dora", "eve", "root")}


def mistype(name: str, address: str, times: int = 1, browser: str = "") -> None:
    for _ in range(times):
        with pytest.raises(NotAllowed, match="do not fit"):
            verbs.sign_in(name, "wrong", address, browser=browser)


def test_typing_errors_of_many_at_one_address_keep_nobody_out(people: dict[str, Account]) -> None:
    for name in ("anna", "ben", "dora", "eve", "root"):
        mistype(name, NAT, 3)
    assert verbs.sign_in("carl", RIGHT, NAT)
    assert verbs.sign_in("anna", RIGHT, NAT)
    mistype("anna", NAT, 4)  # and what was forgiven does not count any more


def test_what_is_forgiven_does_not_count_for_the_address_either(people: dict[str, Account], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(throttle.MORE, "address", 20)
    for _ in range(throttle.MORE["address"] // 4 + 2):
        mistype("anna", NAT, 4)
        verbs.sign_in("anna", RIGHT, NAT)
    assert verbs.sign_in("carl", RIGHT, NAT)


def test_one_good_account_covers_no_guesses_at_others(people: dict[str, Account], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(throttle.MORE, "address", 20)
    for number in range(4):
        mistype(f"nobody{number}", NAT, 4)
        verbs.sign_in("anna", RIGHT, NAT)
    mistype("nobody8", NAT, 4)
    with pytest.raises(NotAllowed, match="Too many"):
        verbs.sign_in("anna", RIGHT, NAT)


def test_a_stranger_who_knows_an_admins_name_does_not_lock_them_out(people: dict[str, Account], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(throttle.MORE, "account", 10)
    token, _ = verbs.sign_in("root", RIGHT, NAT)
    verbs.begin_session(token, Settings(), "the browser of root")
    for number in range(throttle.MORE["account"] + 5):
        with pytest.raises(NotAllowed):
            verbs.sign_in("root", "guess", f"203.0.113.{number}")
    with pytest.raises(NotAllowed, match="Too many"):  # from where nobody signed in before, it is slow for anybody
        verbs.sign_in("root", RIGHT, STRANGER)
    assert verbs.sign_in("root", RIGHT, NAT, browser="the browser of root")


def test_a_known_browser_is_no_free_pass(people: dict[str, Account]) -> None:
    token, _ = verbs.sign_in("root", RIGHT, NAT)
    verbs.begin_session(token, Settings(), "browser")
    mistype("root", NAT, 5, browser="browser")
    with pytest.raises(NotAllowed, match="Too many"):
        verbs.sign_in("root", RIGHT, NAT, browser="browser")
    with catalog.write():
        sessions.end_all(people["root"].id)  # a password that was reset forgets the browsers
    assert not sessions.knows(people["root"].id, verbs._id("browser"))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[timedelta], None]:
    """Have the clock be so much ahead."""

    def ahead(by: timedelta) -> None:
        def moved() -> datetime:
            return now() + by

        for module in (throttle, verbs, sessions):
            monkeypatch.setattr(module, "now", moved)

    return ahead


@pytest.mark.parametrize("by", [timedelta(hours=2), timedelta(days=365), timedelta(minutes=20)])
def test_a_clock_that_is_set_right_keeps_nobody_out(people: dict[str, Account], clock: Callable[[timedelta], None], by: timedelta) -> None:
    clock(by)
    mistype("anna", NAT, 5)
    with pytest.raises(NotAllowed, match="Too many"):
        verbs.sign_in("anna", RIGHT, NAT)
    clock(timedelta())
    assert verbs.sign_in("anna", RIGHT, NAT)
    mistype("anna", NAT, 5)  # and it is counted as ever
    with pytest.raises(NotAllowed, match="Too many"):
        verbs.sign_in("anna", RIGHT, NAT)
    assert Throttle.select().where(Throttle.blocked_until > now() + throttle.LONGEST).count() == 0


def test_nor_does_it_keep_a_new_appliance_from_being_set_up(opened: Settings, clock: Callable[[timedelta], None]) -> None:
    with catalog.write():
        options.put("setup_code", setup._digest("ABCD-EFGH-JKLM"))
    clock(timedelta(days=365))
    for _ in range(5):
        with pytest.raises(BadInput):
            setup.check_code("WRNG-WRNG-WRNG", NAT)
    with pytest.raises(NotAllowed, match="Too many"):
        setup.check_code("ABCD-EFGH-JKLM", NAT)
    setup.check_code("ABCD-EFGH-JKLM", STRANGER)  # from elsewhere it was open all the time
    clock(timedelta())
    setup.check_code("ABCD-EFGH-JKLM", NAT)


def test_a_network_of_ipv6_is_one_address(people: dict[str, Account]) -> None:
    for number in range(5):
        mistype("anna", f"2001:db8:1:2::{number}")
    with pytest.raises(NotAllowed, match="Too many"):
        verbs.sign_in("anna", RIGHT, "2001:db8:1:2:ffff::1")
    assert verbs.sign_in("anna", RIGHT, "2001:db8:1:3::1")
