"""Signing in through directories that are slow, half dead, or particular about who may."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from appliance import bulkhead, catalog
from appliance.bulkhead import Breaker, Bulkhead
from appliance.catalog import Account, Event, Throttle, options
from appliance.errors import NotAllowed, Unavailable
from appliance.identity import directory as directory_server
from appliance.identity import directory_link
from appliance.identity import secrets as secrets_of_others
from appliance.services import directory, sessions
from appliance.settings import Settings
from tests import silent, world
from tests.slapd import READER, SUFFIX

pytestmark = pytest.mark.cases

Use = Callable[..., None]


@pytest.fixture
def use(opened: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Use]:
    """Have people sign in through servers of the tests, each said by how it talks."""
    monkeypatch.setattr(directory_link, "breaker", Breaker(directory_link.REST))
    secrets_of_others.open(opened.web_secret)
    with ExitStack() as stack:

        def begin(*talks: silent.Talk, kind: str = "ad") -> None:
            servers = [f"127.0.0.1:{stack.enter_context(silent.listening(talk)).port}" for talk in talks]
            config = {"kind": kind, "servers": servers, "encryption": "none", "bind_dn": READER, "base": SUFFIX}
            with catalog.write():
                options.put("directory", {"on": True, "config": config, "password": secrets_of_others.seal(directory.PURPOSE, "x")})

        yield begin


def sign_in(name: str = "anna", password: str = "right password") -> Account:
    return sessions.sign_in(name, password, "192.0.2.1")[1]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ("52f", "A rule of the directory"),
        ("530", "only at certain hours"),
        ("531", "only at certain computers"),
        ("532", "password has expired"),
        ("533", "is disabled in the directory"),
        ("534", "lacks the right to sign in"),
        ("568", "in more groups"),
        ("569", "lacks the right to sign in"),
        ("701", "has expired"),
        ("773", "choose a new password"),
        ("775", "is locked in the directory for a while"),
    ],
)
def test_why_the_directory_lets_nobody_in_is_told_and_no_guess(use: Use, data: str, words: str) -> None:
    use(silent.ldap(person=b"anna", reason=silent.ad_reason(data)))
    for _ in range(7):  # the sixth wrong guess has to wait
        with pytest.raises(NotAllowed, match=words) as caught:
            sign_in()
        assert caught.value.hint
    assert not Throttle.select().exists()
    assert not Event.select().where(Event.kind == "sign_in.failed").exists()


@pytest.mark.parametrize("data", ["525", "52e"])
def test_a_wrong_name_or_password_is_a_guess(use: Use, data: str) -> None:
    use(silent.ldap(person=b"anna", reason=silent.ad_reason(data)))
    with pytest.raises(NotAllowed, match="do not fit"):
        sign_in()
    assert Throttle.select().exists()


def test_the_domain_that_is_written_before_a_name_makes_no_other_name_of_it(use: Use) -> None:
    use(silent.ldap(person=b"anna", reason=silent.ad_reason("52e")))
    for name in ("anna", "EXAMPLE\\anna", "A\\anna", "B\\anna", "C\\D\\anna"):
        with pytest.raises(NotAllowed):
            sign_in(name)
    subjects = {row.object for row in Event.select().where(Event.kind == "sign_in.failed")}
    assert subjects == {"account:anna"}, "or each domain would be as many guesses more"


def test_a_server_that_takes_binds_and_answers_no_searches_is_left_alone(use: Use, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(directory_server, "SIGN_IN", 0.3)
    use(silent.ldap())
    begun = time.monotonic()
    with pytest.raises(Unavailable):
        sign_in()
    assert time.monotonic() - begun < 2
    began = time.monotonic()
    with pytest.raises(Unavailable, match="is away"):  # it took the reader's bind, and yet nobody waits for it now
        sign_in()
    assert time.monotonic() - began < 0.2


def test_the_next_server_is_asked_first_when_one_answers_no_searches(use: Use, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(directory_server, "SIGN_IN", 0.3)
    use(silent.ldap(), silent.ldap(person=b"anna", reason=silent.ad_reason("531")))
    with pytest.raises(Unavailable):
        sign_in()
    monkeypatch.setattr(directory_server, "SIGN_IN", 8)
    with pytest.raises(NotAllowed, match="certain computers"):
        sign_in()


def test_servers_that_hang_wherever_they_like_take_no_longer_together(use: Use, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(directory_server, "SIGN_IN", 0.5)
    monkeypatch.setattr(directory_link, "CONNECT", 0.3)
    use(*[lambda _: None] * 6)
    begun = time.monotonic()
    with pytest.raises(Unavailable):
        sign_in()
    assert time.monotonic() - begun < 1.5


def test_whoever_has_a_local_account_comes_in_while_all_wait_for_the_directory(use: Use, monkeypatch: pytest.MonkeyPatch) -> None:
    world.account("ruth", "Ruth Root")
    full = Bulkhead("signing in", 1)
    monkeypatch.setattr(directory, "SIGNING_IN", full)
    use(silent.ldap())
    with full.wait():
        with pytest.raises(Unavailable, match="Many people are signing in"):
            sign_in()
        assert sign_in("ruth", world.PASSWORD).name == "ruth"


def test_whoever_waits_for_the_directory_stands_aside(use: Use, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(directory_server, "SIGN_IN", 0.2)
    went = threading.Event()

    class Aside:
        def __enter__(self) -> None:
            went.set()

        def __exit__(self, *_: object) -> None:
            pass

    monkeypatch.setattr(bulkhead, "aside", Aside)
    use(silent.ldap())
    with pytest.raises(Unavailable):
        sign_in()
    assert went.is_set()
