"""Webhooks against a real web server, and servers that behave badly."""

import json
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from appliance import catalog
from appliance.catalog import now, options
from appliance.connect import AddressRefused
from appliance.errors import BadInput, NotFound, Unavailable
from appliance.identity import secrets
from appliance.outbound import address, webhook
from tests.post import listener
from tests.receiver import Receiver, serving
from tests.slapd import Authority
from tests.unit.outbound.conftest import shown

pytestmark = pytest.mark.usefixtures("key")

ASKING = webhook.Asking(17, 3, datetime(2026, 11, 21, 9, 30, 0, 250, UTC))
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with serving() as made:
        yield made


def post(url: str, **more: Any) -> webhook.Answer:
    return webhook.post(url, {"event": "machine.ready", "name": "Grüße"}, id="msg_1", signed_with=[SECRET], **more)


# -- what is sent ------------------------------------------------------------------------------


def test_the_signature_is_the_specifications() -> None:
    """The example in the documentation of the specification's first implementation."""
    body = b'{"test": 2432232314}'
    signed = webhook.sign(SECRET, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body)
    assert signed == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_a_call_says_who_it_is_from(receiver: Receiver) -> None:
    before = int(now().timestamp())
    answer = post(receiver.url)
    assert (answer.status, answer.data) == (200, {"ok": True})
    [(path, headers, body)] = receiver.calls
    assert path == "/hook?a=b"
    assert json.loads(body) == {"event": "machine.ready", "name": "Grüße"}
    assert headers["content-type"] == "application/json"
    assert headers["webhook-id"] == "msg_1"
    assert before <= int(headers["webhook-timestamp"]) <= int(now().timestamp())
    assert headers["webhook-signature"] == webhook.sign(SECRET, "msg_1", int(headers["webhook-timestamp"]), body)
    assert headers["host"] == receiver.url.split("/")[2]


def test_no_proxy_of_the_environment_is_used(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert post(receiver.url).status == 200


@pytest.mark.parametrize("said", [b"", b"thanks", b"[1]", b"\xff", b"[" * 60_000, b'{"ok": tru'])
def test_an_answer_that_is_no_json_object_is_still_one(receiver: Receiver, said: bytes) -> None:
    receiver.says = [(202, said, {})]
    answer = post(receiver.url)
    assert (answer.status, answer.data) == (202, {})
    assert answer.text.isprintable()


def test_over_tls_with_the_houses_authority(authority: Authority, secure: ssl.SSLContext) -> None:
    with serving(secure) as receiver:
        assert post(receiver.url, authority=authority.pem).status == 200
        with pytest.raises(AddressRefused, match="certificate that cannot be trusted"):
            post(receiver.url)
    assert len(receiver.calls) == 1


@pytest.mark.badinput
@pytest.mark.parametrize("certificate", [{"days": -3}, {"host": "other.example.org"}])
def test_a_wrong_certificate_ends_it(authority: Authority, tmp_path: Path, certificate: dict[str, Any]) -> None:
    with (
        serving(shown(authority, tmp_path, **certificate)) as receiver,
        pytest.raises(AddressRefused, match="certificate that cannot be trusted"),
    ):
        post(receiver.url, authority=authority.pem)
    assert receiver.calls == []


# -- what is answered --------------------------------------------------------------------------


@pytest.mark.badinput
@pytest.mark.parametrize("status", [500, 502, 503, 504, 429, 408, 425])
def test_what_may_be_better_later(receiver: Receiver, status: int) -> None:
    receiver.says = [(status, b"try <b>again</b>\n\x1b[31m", {})]
    with pytest.raises(Unavailable, match=f"answers {status}. It says “try <b>again</b>"):
        post(receiver.url)
    assert post(receiver.url).status == 200
    assert {headers["webhook-id"] for _, headers, _ in receiver.calls} == {"msg_1"}


@pytest.mark.badinput
@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 422])
def test_what_is_no_better_later(receiver: Receiver, status: int) -> None:
    receiver.says = [(status, b"no", {})]
    with pytest.raises(AddressRefused, match=f"answers {status}"):
        post(receiver.url)


@pytest.mark.badinput
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(receiver: Receiver, status: int) -> None:
    receiver.says = [(status, b"", {"Location": receiver.url})]
    with pytest.raises(AddressRefused, match="is not followed"):
        post(receiver.url)
    assert len(receiver.calls) == 1


@pytest.mark.badinput
def test_a_huge_answer_is_not_read() -> None:
    sent = 0

    def pour(connection: socket.socket) -> None:
        nonlocal sent
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            sent += connection.send(b"x" * 65536)

    with listener(pour) as port, pytest.raises(AddressRefused, match="more than 64 KiB"):
        post(f"http://127.0.0.1:{port}/")
    assert sent < 50_000_000


@pytest.mark.badinput
def test_an_answer_that_ends_too_soon_may_be_tried_again(receiver: Receiver) -> None:
    receiver.says = [(200, b'{"ok": true}', {"Content-Length": "500", "Connection": "close"})]
    with pytest.raises(Unavailable, match="hung up"):
        post(receiver.url)


def silent(_connection: socket.socket) -> None:
    pass


def dripping(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n")
    while True:
        connection.sendall(b"x")
        time.sleep(0.05)  # what it is to do: a byte at a time


def babbling(connection: socket.socket) -> None:
    while True:
        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        time.sleep(0.01)


@pytest.mark.badinput
@pytest.mark.parametrize("serve", [silent, dripping, babbling])
def test_a_receiver_that_never_answers_is_given_up_in_time(serve: Callable[[socket.socket], None]) -> None:
    with listener(serve) as port:
        begun = time.monotonic()
        with pytest.raises(Unavailable, match="does not answer in time"):
            post(f"http://127.0.0.1:{port}/", limit=1)
        assert 0.9 < time.monotonic() - begun < 5


@pytest.mark.badinput
def test_a_receiver_that_speaks_something_else(authority: Authority) -> None:
    def other(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(b"220 mail.example.org ESMTP\r\n")
        connection.close()

    with listener(other) as port:
        with pytest.raises(Unavailable, match="as a web server does"):
            post(f"http://127.0.0.1:{port}/")
        with pytest.raises(AddressRefused, match="does not speak TLS"):
            post(f"https://127.0.0.1:{port}/", authority=authority.pem)
    with pytest.raises(Unavailable, match="Nothing listens"):
        post(f"http://127.0.0.1:{port}/")
    with pytest.raises(Unavailable, match="no host called"):
        post("http://hooks.invalid/")


@pytest.mark.badinput
@pytest.mark.parametrize(
    "url",
    ["", "hooks.example.org", "ftp://example.org/", "file:///etc/passwd", "http://", "http://u:p@example.org/", "http://example.org:99999/",
     "http://example.org/a b", "http://example.org/\r\nX: y", "http://exa\nmple.org/", "http://exämple.org/", "http://[::1/",
     "http://example.org/#x", "http://a..b/", "http://" + "x" * 3000],
)  # fmt: skip
def test_what_cannot_be_called_is_refused(url: str) -> None:
    with pytest.raises(BadInput):
        webhook.check_url(url)


@pytest.mark.parametrize("url", ["http://example.org", "https://[::1]:8080/x?y=z", "http://192.0.2.1/%C3%BC"])
def test_what_can_be_called(url: str) -> None:
    assert webhook.check_url(f" {url} ") == url


# -- secrets -----------------------------------------------------------------------------------


def keep(**values: str) -> None:
    with catalog.write():
        options.put("webhooks", values)


@pytest.mark.badinput
def test_without_a_secret_nothing_is_sent(receiver: Receiver) -> None:
    with pytest.raises(AddressRefused, match="no secret yet"):
        webhook.send(receiver.url, {}, id="msg_1")
    assert receiver.calls == []


def test_while_a_secret_is_replaced_both_sign(receiver: Receiver) -> None:
    new, old = webhook.new_secret(), webhook.new_secret()
    until = now() + timedelta(minutes=1)
    keep(secret=webhook.sealed(new), before=webhook.sealed(old), before_until=until.isoformat())
    assert new not in str(options.get("webhooks"))
    webhook.send(receiver.url, {}, id="msg_1")
    [(_, headers, body)] = receiver.calls
    expected = [webhook.sign(secret, "msg_1", int(headers["webhook-timestamp"]), body) for secret in (new, old)]
    assert headers["webhook-signature"].split() == expected
    keep(secret=webhook.sealed(new), before=webhook.sealed(old), before_until=(now() - timedelta(seconds=1)).isoformat())
    assert webhook.known_secrets() == [new]


# -- answers that come later -------------------------------------------------------------------


@pytest.mark.usefixtures("at_home")
def test_the_address_for_an_answer_is_always_the_same_and_opens_one_step() -> None:
    link = webhook.callback(ASKING)
    assert link == webhook.callback(ASKING)
    assert link.startswith("https://dpe.example.org:8443/hooks/17.3.20261121093000000250.")
    assert webhook.opened_by(link.rpartition("/")[2]) == ASKING
    assert webhook.id_of(ASKING) == webhook.id_of(ASKING) != webhook.id_of(ASKING._replace(since=now()))


def test_nobody_can_answer_while_the_address_is_not_known() -> None:
    with pytest.raises(AddressRefused, match="own address is not set"):
        webhook.callback(ASKING)


@pytest.mark.badinput
def test_no_other_token_opens_a_step(tmp_path: Path) -> None:
    good = webhook.token(ASKING)
    mark = good.rpartition(".")[2]
    since = good.split(".")[2]
    for wrong in ("", good[:-1], good + "A", good.swapcase(), f"17.3.{since}." + "A" * 43, f"1٧.3.{since}.{mark}", "x" * 10_000):
        assert wrong != good
        with pytest.raises(NotFound):
            webhook.opened_by(wrong)
    for place in (f"17.4.{since}", f"1.73.{since}", f"17.3.{since[:-1]}9"):
        with pytest.raises(NotFound):
            webhook.opened_by(f"{place}.{mark}")
    (tmp_path / "other").write_bytes(b"o" * 32)
    secrets.open(tmp_path / "other")
    with pytest.raises(NotFound):
        webhook.opened_by(good)


@pytest.mark.badinput
@pytest.mark.parametrize(
    "text",
    [
        "",
        "dpe.example.org",
        "https://",
        "https://dpe.example.org/page",
        "https://u@dpe.example.org",
        "https://dpe.example.org:x",
        "ftp://a",
    ],
)
def test_what_cannot_be_our_address_is_refused(text: str) -> None:
    with pytest.raises(BadInput):
        address.check_address(text)


def test_our_address() -> None:
    assert address.check_address(" https://dpe.example.org:8443/ ") == "https://dpe.example.org:8443"
    assert address.check_address("https://[::1]") == "https://[::1]"
    assert address.link("/x") == ""
