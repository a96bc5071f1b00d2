"""Mail over a real SMTP server, and over servers that behave badly."""

import email.policy
import socket
import ssl
import time
from collections.abc import Callable
from dataclasses import replace
from email import message_from_bytes
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest

from appliance import catalog
from appliance.catalog import options
from appliance.connect import AddressRefused
from appliance.errors import BadInput, Unavailable
from appliance.identity import secrets
from appliance.outbound import mail
from appliance.outbound.mail import Server
from tests.post import PASSWORD, listener, office
from tests.slapd import Authority
from tests.unit.outbound.conftest import shown

pytestmark = pytest.mark.usefixtures("key")


def server(port: int, security: str = "none", authority: str = "", user: str = "") -> Server:
    return Server("127.0.0.1", port, security, authority, user, "dpe@example.org")


def hello(to: str = "ada@example.org", *, id: str = "1") -> EmailMessage:
    return mail.message(to, "Your machine", "It is ready.", sender="dpe@example.org", id=id)


# -- what a message is -------------------------------------------------------------------------


def test_a_message_is_the_same_one_when_it_is_sent_again() -> None:
    first, again = hello(id="run 7"), hello(id="run 7")
    assert first["Message-ID"] == again["Message-ID"]
    assert first["Message-ID"].endswith("@example.org>")
    assert first["Auto-Submitted"] == "auto-generated"
    assert first["Date"].datetime.utcoffset() is not None
    others = {hello(id="run 8")["Message-ID"], hello("bob@example.org", id="run 7")["Message-ID"]}
    assert len(others | {first["Message-ID"]}) == 3


@pytest.mark.badinput
def test_nothing_in_a_subject_can_make_a_second_header() -> None:
    made = mail.message("ada@example.org", "One\r\nBcc: eve@example.org\n\nbody\0", "a\r\n.\r\nb\0", sender="dpe@example.org", id="1")
    read = message_from_bytes(made.as_bytes(), policy=email.policy.default)
    assert read["Subject"] == "One Bcc: eve@example.org body"
    assert read["Bcc"] is None
    assert read.get_content().splitlines() == ["a", ".", "b"]  # type: ignore[attr-defined]


@pytest.mark.badinput
@pytest.mark.parametrize(
    "address",
    ["", "ada", "ada@", "@example.org", "ada@example.org\nBcc: eve@example.org", "ada@example.org, eve@example.org", "a b@example.org",
     "<ada@example.org>", "ada@@example.org", "ada@example.org\0", "x" * 70 + "@example.org", "a..b@example.org", ".@.", "ädä@example.org"],
)  # fmt: skip
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(BadInput, match="is not an e-mail address"):
        mail.message(address, "Hello", "Hello", sender="dpe@example.org", id="1")


@pytest.mark.badinput
@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"host": "mail example"}, "not a name or address of a host"),
        ({"host": ""}, "not a name or address of a host"),
        ({"port": "0"}, "not a port"),
        ({"port": "65536"}, "not a port"),
        ({"port": "²"}, "not a port"),
        ({"security": "rot13"}, "not one of the choices"),
        ({"authority": "-----BEGIN CERTIFICATE-----\nx"}, "cannot be read"),
        ({"user": "a\nb"}, "name of an account"),
        ({"sender": "dpe"}, "not an e-mail address"),
    ],
)
def test_what_cannot_be_a_server_is_refused(wrong: dict[str, str], said: str) -> None:
    good = {"host": "mail.example.org", "port": "587", "security": "starttls", "authority": "", "user": "", "sender": "dpe@example.org"}
    assert mail.server(good).port == 587
    with pytest.raises(BadInput, match=said):
        mail.server(good | wrong)


# -- a real server -----------------------------------------------------------------------------


def test_a_message_arrives_whole() -> None:
    text = "Grüße — Ihre Maschine läuft.\n.\n..\nFrom nobody\n" + "x" * 3000
    with office() as post:
        mail.deliver(server(post.port), "", mail.message("ada@example.org", "Grüße, Ada", text, sender="dpe@example.org", id="1"))
    [read] = post.taken
    assert read["Subject"] == "Grüße, Ada"
    assert read["To"] == "ada@example.org"
    assert read["From"].addresses[0].addr_spec == "dpe@example.org"
    assert read.get_content().splitlines() == text.splitlines()


@pytest.mark.cases
@pytest.mark.parametrize(("name", "said"), [("dpe", "[127.0.0.1]"), ("dpe.example.org", "dpe.example.org")])
def test_a_server_that_wants_a_full_name_is_greeted_with_one(name: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: name)
    with office() as post:
        mail.deliver(server(post.port), "", mail.message("ada@example.org", "Hello", "Hello", sender="dpe@example.org", id="1"))
        assert post.greeted == [said]


@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_it_travels_encrypted_and_after_signing_in(security: str, authority: Authority, secure: ssl.SSLContext) -> None:
    how: dict[str, Any] = {"tls_context": secure, "require_starttls": True} if security == "starttls" else {"ssl_context": secure}
    if security == "tls":
        how["auth_require_tls"] = False  # the library counts only STARTTLS
    with office(**how) as post:
        mail.deliver(server(post.port, security, authority.pem, "dpe"), PASSWORD, hello())
        assert len(post.taken) == 1
        assert post.logins == ["dpe"]
        with pytest.raises(AddressRefused, match="does not take the name dpe and its password") as refused:
            mail.deliver(server(post.port, security, authority.pem, "dpe"), "wrong", hello())
        assert "wrong" not in str(refused.value)
    assert len(post.taken) == 1


@pytest.mark.badinput
@pytest.mark.parametrize("security", ["starttls", "tls"])
@pytest.mark.parametrize(
    ("certificate", "trusted", "said"),
    [
        ({}, False, "Paste the certificate of the authority"),
        ({"days": -3}, True, "Renew the server's certificate"),
        ({"host": "other.example.org"}, True, "Name the server here as its certificate does"),
    ],
)
def test_a_certificate_that_is_not_good_ends_it(
    security: str, certificate: dict[str, Any], trusted: bool, said: str, authority: Authority, tmp_path: Path
) -> None:
    context = shown(authority, tmp_path, **certificate)
    with office(**({"tls_context": context} if security == "starttls" else {"ssl_context": context})) as post:
        other = authority if trusted else Authority.make("Somebody else's")
        with pytest.raises(AddressRefused, match="certificate that cannot be trusted") as refused:
            mail.deliver(server(post.port, security, other.pem, "dpe"), PASSWORD, hello())
        assert said in refused.value.hint
    assert post.logins == []


@pytest.mark.badinput
@pytest.mark.parametrize("step", ["to_sender", "to_recipient", "to_data"])
@pytest.mark.parametrize(("said", "kind"), [("451 4.7.1 Come back later", Unavailable), ("550 5.1.1 Nobody here", AddressRefused)])
def test_what_a_server_refuses_for_now_and_for_good(step: str, said: str, kind: type[Exception]) -> None:
    with office() as post:
        setattr(post, step, said)
        with pytest.raises(kind, match=said):
            mail.deliver(server(post.port), "", hello())
        setattr(post, step, "")
        mail.deliver(server(post.port), "", hello())
    assert len(post.taken) == 1


@pytest.mark.badinput
def test_what_a_server_does_not_offer_is_said_in_words(authority: Authority) -> None:
    with office() as post:
        with pytest.raises(AddressRefused, match="offers no StartTLS"):
            mail.deliver(server(post.port, "starttls", authority.pem), "", hello())
        with pytest.raises(AddressRefused, match="asks nobody who they are without encryption"):
            mail.deliver(server(post.port, user="dpe"), PASSWORD, hello())
        with pytest.raises(AddressRefused, match="does not speak TLS"):
            mail.deliver(server(post.port, "tls", authority.pem), "", hello())
    assert post.taken == []


@pytest.mark.badinput
def test_servers_that_are_not_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    with pytest.raises(Unavailable, match="Nothing listens"):
        mail.deliver(server(port), "", hello())
    with pytest.raises(Unavailable, match=r"There is no host called mail\.invalid"):
        mail.deliver(replace(server(port), host="mail.invalid"), "", hello())


# -- servers that behave badly -----------------------------------------------------------------


def silent(_connection: socket.socket) -> None:
    pass


def dripping(connection: socket.socket) -> None:
    while True:
        connection.sendall(b"2")
        time.sleep(0.05)  # what it is to do: a byte at a time, for ever


def dropping(connection: socket.socket) -> None:
    connection.sendall(b"220 hello\r\n")
    with connection.makefile("rb") as lines:
        for line in lines:
            if line.upper().startswith(b"DATA"):
                connection.sendall(b"354 go on\r\n")
                connection.shutdown(socket.SHUT_RDWR)
                return
            connection.sendall(b"250 OK\r\n")


def sulking(connection: socket.socket) -> None:
    connection.sendall(b"421 4.3.2 Closing down\r\n")
    connection.close()


@pytest.mark.badinput
@pytest.mark.parametrize("serve", [silent, dripping])
@pytest.mark.parametrize("security", ["none", "tls"])
def test_a_server_that_hangs_is_given_up_in_time(serve: Callable[[socket.socket], None], security: str) -> None:
    with listener(serve) as port:
        begun = time.monotonic()
        with pytest.raises((Unavailable, AddressRefused)) as given_up:
            mail.deliver(server(port, security), "", hello(), limit=1)
        assert time.monotonic() - begun < 5
    if serve is silent or security == "none":
        assert "does not answer in time" in str(given_up.value)


@pytest.mark.badinput
def test_a_server_that_hangs_up_may_be_tried_again() -> None:
    with listener(dropping) as port, pytest.raises(Unavailable, match="hung up"):
        mail.deliver(server(port), "", hello())
    with listener(sulking) as port, pytest.raises(Unavailable, match="421"):
        mail.deliver(server(port), "", hello())


# -- telling people ----------------------------------------------------------------------------


def use(port: int) -> None:
    with catalog.write():
        stored = {"host": "127.0.0.1", "port": port, "security": "none", "authority": "", "user": "", "sender": "dpe@example.org"}
        options.put("mail", {"on": True, "server": stored, "password": ""})


def test_nothing_is_sent_until_somebody_sets_it_up() -> None:
    sent = mail.mail_about(["ada@example.org"], "Hello", "Hello", id="1")
    assert (sent.to, str(sent)) == ([], "Not sent: e-mail is not set up.")
    with pytest.raises(AddressRefused, match="not set up"):
        mail.send("ada@example.org", "Hello", "Hello", id="1")


@pytest.mark.usefixtures("at_home")
def test_each_gets_a_message_of_their_own_with_a_link() -> None:
    with office() as post:
        use(post.port)
        sent = mail.mail_about(["ada@example.org", "", "bob@example.org ", "ada@example.org", "eve"], "Hello", "Hi.", id="1", path="/inbox")
        assert sent.to == ["ada@example.org", "bob@example.org"]
        assert "'eve' is not an e-mail address" in sent.refused["eve"]
        assert str(mail.mail_about([""], "Hello", "Hi.", id="1")) == "Not sent: nobody has an e-mail address."
    assert [made["To"] for made in post.taken] == ["ada@example.org", "bob@example.org"]
    assert {tuple(made.get_content().splitlines()) for made in post.taken} == {("Hi.", "", "https://dpe.example.org:8443/inbox")}


def test_the_same_telling_again_is_the_same_messages() -> None:
    with office() as post:
        use(post.port)
        for _ in range(2):
            mail.mail_about(["ada@example.org", "bob@example.org"], "Hello", "Hi.", id="run 3 step 1")
    names = [made["Message-ID"] for made in post.taken]
    assert len(names) == 4
    assert len(set(names)) == 2


def test_the_password_is_kept_sealed() -> None:
    with catalog.write():
        stored = {"host": "127.0.0.1", "port": 1, "security": "tls", "authority": "", "user": "dpe", "sender": "dpe@example.org"}
        options.put("mail", {"on": True, "server": stored, "password": secrets.seal(mail.PURPOSE, PASSWORD)})
    assert PASSWORD not in str(options.get("mail"))
    using = mail.current()
    assert using is not None
    assert using[1] == PASSWORD
