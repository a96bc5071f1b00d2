"""A real slapd on loopback: reaching it, reading it, signing in through it, and every way in which that goes wrong."""

import os
import random
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from appliance.bulkhead import Breaker
from appliance.errors import BadInput, DpeError, NotAllowed, Unavailable
from appliance.identity import directory, directory_link, directory_tree
from appliance.identity.directory_config import Config
from appliance.identity.directory_config import config as make_config
from appliance.identity.directory_link import Limit
from tests import slapd
from tests.slapd import PEOPLE, READER, READER_PASSWORD, SUFFIX, Slapd

pytestmark = pytest.mark.directory


def configured(server: Slapd, **values: Any) -> Config:
    usual = {"servers": (f"127.0.0.1:{server.port}",), "authority": server.authority.pem, "bind_dn": READER, "base": SUFFIX}
    return make_config(usual | values)


@pytest.fixture(autouse=True)
def nobody_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(directory_link, "breaker", Breaker(directory_link.REST))


@pytest.fixture(scope="module")
def school(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slapd]:
    """A small directory that no test changes."""
    physics = f"ou=physics,{PEOPLE}"
    entries = [
        *slapd.top(),
        slapd.unit("people"),
        slapd.unit("physics", PEOPLE),
        slapd.somebody("ada", "Ada Lovelace", PEOPLE, mail="ada@example.org", password="ada's password"),
        slapd.somebody("bob", "Bob (the *) \\ one, #2", physics, password="bob's password"),
        slapd.somebody("c*)(uid=ada", "Injection", physics),
        slapd.somebody("d*(x)", "Odd", physics, password="odd's password"),
        slapd.group("staff (all)", [f"uid=ada,{PEOPLE}", f"CN=Inner\\2C circle,{SUFFIX}"]),
        slapd.group("inner, circle", [f"UID=Bob, ou=Physics,{PEOPLE}"]),
    ]
    with slapd.serve(tmp_path_factory.mktemp("school") / "slapd", entries) as server:
        yield server


# -- reaching it ----------------------------------------------------------------------------


@pytest.mark.parametrize("encryption", ["starttls", "ldaps", "none"])
def test_people_sign_in_over_every_encryption(school: Slapd, encryption: str) -> None:
    port = school.tls_port if encryption == "ldaps" else school.port
    config = configured(school, encryption=encryption, servers=(f"127.0.0.1:{port}",))
    ada = directory.authenticate(config, READER_PASSWORD, "Ada", "ada's password")
    assert ada is not None
    assert (ada.name, ada.full_name, ada.mail, ada.dn) == ("ada", "Ada Lovelace", "ada@example.org", f"uid=ada,{PEOPLE}")
    assert directory.authenticate(config, READER_PASSWORD, "ada", "another password") is None
    assert directory.authenticate(config, READER_PASSWORD, "nobody", "ada's password") is None


@pytest.mark.badinput
@pytest.mark.parametrize("password", ["", "\0", "ada's password\0"])
def test_an_empty_password_is_no_password(school: Slapd, password: str) -> None:
    assert directory.authenticate(configured(school), READER_PASSWORD, "ada", password) is None


@pytest.mark.badinput
@pytest.mark.parametrize("name", ["*", "a*", "ada)(uid=*", "(uid=ada)", "\\61da", "ada\0", "", "ada,ou=people", "ada\n", "x" * 100])
def test_no_letters_in_a_name_mean_somebody_else(school: Slapd, name: str) -> None:
    for values in ({}, {"sign_in": "direct", "template": f"uid={{name}},{PEOPLE}"}):
        assert directory.authenticate(configured(school, **values), READER_PASSWORD, name, "ada's password") is None


@pytest.mark.badinput
def test_a_name_of_filter_characters_is_only_a_name(school: Slapd) -> None:
    odd = directory.authenticate(configured(school), READER_PASSWORD, "d*(x)", "odd's password")
    assert odd is not None
    tree = directory_tree.read_tree(configured(school), READER_PASSWORD)
    assert {person.name: person.full_name for person in tree.people.values()} == {
        "ada": "Ada Lovelace", "bob": "Bob (the *) \\ one, #2", "d*(x)": "Odd",
    }  # fmt: skip
    assert tree.people[odd.id] == odd
    [problem] = tree.problems
    assert problem.endswith("is left out: its uid cannot be a name to sign in with.")
    staff, inner = (next(group for group in tree.groups.values() if group.name == name) for name in ("staff (all)", "inner, circle"))
    names = {person.id: person.name for person in tree.people.values()}
    assert [names[id] for id in staff.people] == ["ada"]
    assert staff.groups == {inner.id}
    assert [names[id] for id in inner.people] == ["bob"]


def test_binding_directly_asks_nobody_else(school: Slapd) -> None:
    config = configured(school, bind_dn="cn=nobody,dc=example,dc=org", sign_in="direct", template=f"uid={{name}},{PEOPLE}")
    ada = directory.authenticate(config, "", "ada", "ada's password")
    assert ada is not None
    assert ada.full_name == "Ada Lovelace"
    assert directory.authenticate(config, "", "ada", "wrong") is None
    assert directory.authenticate(config, "", "bob", "bob's password") is None  # lives elsewhere than the pattern says


def test_the_next_server_is_asked_when_the_first_is_away(school: Slapd) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        away = f"127.0.0.1:{nobody.getsockname()[1]}"
        config = configured(school, servers=(away, f"127.0.0.1:{school.port}"))
        assert directory.authenticate(config, READER_PASSWORD, "ada", "ada's password") is not None
        assert directory_link._order(config)[-1] == away  # and is not waited for the next time


def _trouble(config: Config) -> DpeError:
    with pytest.raises(DpeError) as caught, directory_link.opened(config, config.bind_dn, READER_PASSWORD) as link:
        list(directory.search(link, config.base, config.shape.people, ["uid"]))
    return caught.value


@pytest.mark.badinput
@pytest.mark.parametrize(
    ("values", "kind", "words"),
    [
        ({"authority": ""}, Unavailable, "certificate that cannot be trusted: self-signed certificate in certificate chain"),
        ({"authority": slapd.Authority.make("Another").pem}, Unavailable, "certificate that cannot be trusted"),
        ({"servers": ("nowhere.invalid",)}, Unavailable, "no host called nowhere.invalid"),
        ({"base": "dc=elsewhere,dc=org"}, BadInput, "has no place dc=elsewhere,dc=org"),
        ({"base": f"ou=nothing,{SUFFIX}"}, BadInput, f"has no place ou=nothing,{SUFFIX}"),
        ({"bind_dn": f"cn=stranger,{SUFFIX}"}, NotAllowed, "does not take this name and password"),
        ({"bind_dn": "no name"}, BadInput, "does not understand a name"),
        ({"people": "(&(unclosed)"}, BadInput, "filters is not written as filters are"),
    ],
)  # fmt: skip
def test_what_cannot_work_is_explained(school: Slapd, values: dict[str, Any], kind: type[DpeError], words: str) -> None:
    error = _trouble(configured(school, **values))
    assert isinstance(error, kind)
    assert words in error.message
    assert error.hint


@pytest.mark.badinput
@pytest.mark.parametrize("encryption", ["starttls", "ldaps"])
@pytest.mark.parametrize(
    ("certificate", "words"), [({"days": -1}, "certificate has expired"), ({"host": "ldap.example.org"}, "not valid for '127.0.0.1'")]
)
def test_a_bad_certificate_lets_no_password_out(tmp_path: Path, encryption: str, certificate: dict[str, Any], words: str) -> None:
    with slapd.serve(tmp_path / "slapd", slapd.top(), **certificate) as server:
        port = server.tls_port if encryption == "ldaps" else server.port
        error = _trouble(configured(server, encryption=encryption, servers=(f"127.0.0.1:{port}",)))
    assert isinstance(error, Unavailable)
    assert words in error.message


def test_a_wrong_port_is_told_from_a_wrong_certificate(school: Slapd) -> None:
    plain = _trouble(configured(school, encryption="ldaps"))
    assert "does not speak TLS" in plain.message
    encrypted = _trouble(configured(school, servers=(f"127.0.0.1:{school.tls_port}",)))
    assert "hangs up when it is asked for StartTLS" in encrypted.message


@pytest.mark.parametrize("encryption", ["starttls", "ldaps", "none"])
def test_a_server_that_says_nothing_is_given_up(school: Slapd, encryption: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(directory_link, "CONNECT", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        config = configured(school, encryption=encryption, servers=(f"127.0.0.1:{silent.getsockname()[1]}",))
        begun = time.monotonic()
        with pytest.raises(Unavailable):
            directory.authenticate(config, READER_PASSWORD, "ada", "ada's password")
        assert time.monotonic() - begun < 3
        with pytest.raises(Unavailable, match="away"):  # whoever comes next does not wait at all
            directory.authenticate(config, READER_PASSWORD, "ada", "ada's password")


def test_a_server_that_stops_in_the_middle_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    people = [slapd.somebody(f"p{number}", parent=PEOPLE) for number in range(1200)]
    with slapd.serve(tmp_path / "slapd", [*slapd.top(), slapd.unit("people"), *people]) as server:

        def freeze(step: str) -> None:
            if step.startswith("Reading people: "):
                os.kill(server.process.pid, signal.SIGSTOP)
                while psutil.Process(server.process.pid).status() != psutil.STATUS_STOPPED:  # a moment, in which it could answer
                    time.sleep(0.01)

        try:
            with pytest.raises(Unavailable):
                directory_tree.read_tree(configured(server), READER_PASSWORD, freeze, Limit(answer=0.5))
        finally:
            os.kill(server.process.pid, signal.SIGCONT)


@pytest.mark.badinput
def test_a_referral_is_never_followed(tmp_path: Path) -> None:
    """A place that points to itself: whoever followed it would never come back."""
    with slapd.serve(tmp_path / "slapd", [*slapd.top(), slapd.unit("people"), slapd.somebody("ada", parent=PEOPLE)]) as server:
        loop = f"ou=loop,{SUFFIX}"
        where = f"ldap://127.0.0.1:{server.port}/{loop}".encode()
        server.add((loop, {"objectClass": [b"referral", b"extensibleObject"], "ou": [b"loop"], "ref": [where]}))
        tree = directory_tree.read_tree(configured(server), READER_PASSWORD)
        assert [person.name for person in tree.people.values()] == ["ada"]
        error = _trouble(configured(server, base=loop))
    assert isinstance(error, BadInput)
    assert "points to another server" in error.message


# -- reading it -----------------------------------------------------------------------------


@pytest.mark.badinput
def test_what_cannot_be_used_is_named_and_the_rest_is_read(tmp_path: Path) -> None:
    entries = [
        *slapd.top(),
        slapd.unit("people"),
        slapd.somebody("ada", parent=PEOPLE, mail="both@example.org"),
        slapd.somebody("bea", parent=PEOPLE, mail="Both@example.org"),
        slapd.somebody("long", parent=PEOPLE, displayName=[b"x" * 2**20]),
        slapd.somebody("portrait", parent=PEOPLE, jpegPhoto=[random.randbytes(2**20)]),
        slapd.somebody("slash/name", parent=PEOPLE),
        slapd.somebody("twin", "One", PEOPLE),
        slapd.somebody("twin", "Two", SUFFIX),
        slapd.group("red", [f"cn=green,{SUFFIX}", f"uid=ada,{PEOPLE}"]),
        slapd.group("green", [f"cn=blue,{SUFFIX}"]),
        slapd.group("blue", [f"cn=red,{SUFFIX}", f"uid=bea,{PEOPLE}"]),
        slapd.group("selfish", [f"cn=selfish,{SUFFIX}"]),
        slapd.group("outer", [f"cn=red,{SUFFIX}", f"uid=gone,{PEOPLE}"]),
    ]  # fmt: skip
    with slapd.serve(tmp_path / "slapd", entries) as server:
        config = configured(server)
        tree = directory_tree.read_tree(config, READER_PASSWORD)
        with pytest.raises(BadInput, match="2 people called twin"):
            directory.authenticate(config, READER_PASSWORD, "twin", "whatever")
    assert sorted(person.name for person in tree.people.values()) == ["ada", "bea", "portrait"]
    said = "\n".join(tree.problems)
    for words in (
        "uid=long,ou=people,dc=example,dc=org is left out: displayName is 1048576 bytes long.",
        "its uid cannot be a name to sign in with",
        "2 people are called twin",
        "2 people have the mail address both@example.org: ada, bea.",
        "Groups contain each other in a circle: selfish → selfish.",
    ):
        assert words in said
    assert len([problem for problem in tree.problems if "in a circle" in problem]) == 2
    inside = {group.name: {tree.groups[id].name for id in group.groups} for group in tree.groups.values()}
    assert inside == {"red": set(), "green": set(), "blue": set(), "selfish": set(), "outer": {"red"}}


class Ranges:
    """Active Directory's way with large groups, which slapd does not have: 1,500 members an answer."""

    def __init__(self, members: list[bytes]) -> None:
        self.members = members

    def give(self) -> float:
        return 1.0

    def search_s(self, dn: str, scope: int, *, attrlist: list[str]) -> list[tuple[str, dict[str, list[bytes]]]]:
        first = int(attrlist[0].partition("=")[2].partition("-")[0])
        part = self.members[first : first + 1500]
        end = "*" if first + 1500 >= len(self.members) else str(first + 1499)
        return [(dn, {f"member;range={first}-{end}": part})]


@pytest.mark.parametrize("size", [1500, 1501, 4000])
def test_a_large_group_of_active_directory_is_read_to_its_end(size: int) -> None:
    server = Ranges([b"cn=%d" % number for number in range(size)])
    first = {name.lower(): values for name, values in server.search_s("cn=all", 0, attrlist=["member;range=0-*"])[0][1].items()}
    assert directory_tree._whole(server, "cn=all", first | {"member": []})["member"] == server.members


@pytest.mark.parametrize(
    ("values", "disabled"),
    [
        ({}, False),
        ({"useraccountcontrol": [b"512"]}, False),
        ({"useraccountcontrol": [b"514"]}, True),
        ({"useraccountcontrol": [b"66050"]}, True),  # disabled, and its password never expires
        ({"useraccountcontrol": [b"nonsense"]}, False),
        ({"useraccountcontrol": [b"9" * 2**20], "nsaccountlock": []}, False),
        ({"nsaccountlock": [b"TRUE"]}, True),
        ({"nsaccountlock": [b"false"]}, False),
        ({"pwdaccountlockedtime": [b"000001010000Z"]}, True),
        ({"pwdaccountlockedtime": [b"20260101000000Z"]}, False),  # after too many tries, for a while
    ],
)
def test_whom_the_directory_locked_out(values: dict[str, list[bytes]], disabled: bool) -> None:
    assert directory.is_disabled(values) is disabled


def test_places_are_the_same_however_they_are_spelt() -> None:
    spellings = ("uid=ada,ou=People,dc=example,dc=org", "UID=Ada, OU=people,DC=example,dc=ORG", "uid=\\61da,ou=people,dc=example,dc=org")
    assert len({directory.same(dn) for dn in spellings}) == 1
    assert directory.same("cn=a+ou=b,dc=org") == directory.same("ou=b+cn=a,dc=org")
    assert directory.same("cn=a\\,b,dc=org") != directory.same("cn=a,cn=b,dc=org")
    assert directory.same("no place") == "no place"
