"""The client: whom it trusts, what it asks again, and how problems become exceptions."""

import asyncio
import http.server
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import nullcontext, suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from requests.adapters import BaseAdapter
from requests.structures import CaseInsensitiveDict

from appliance.access import tls
from appliance.catalog import Group, now
from appliance.settings import Settings
from dpe import certificate
from dpe.client import Client
from dpe.errors import ClientError, Conflict, NotAllowed, NotFound, Refused, Unreachable, Untrusted

pytestmark = pytest.mark.cli


class Answers(BaseAdapter):
    """One answer after the other: a status with headers, or an error."""

    def __init__(self, *answers: Any) -> None:
        super().__init__()
        self.answers, self.asked = list(answers), list[Any]()

    def send(self, request: Any, *_: Any, **__: Any) -> Any:
        self.asked.append(request)
        found = self.answers.pop(0)
        if isinstance(found, Exception):
            raise found
        answer = requests.Response()
        answer.status_code, headers = found if isinstance(found, tuple) else (found, {})
        answer.headers, answer._content, answer.url, answer.request = (
            CaseInsensitiveDict(headers),
            b'{"title": "No.", "detail": "Why."}',
            request.url,
            request,
        )
        return answer

    def close(self) -> None:
        """Nothing is open."""


def asking(*answers: Any) -> tuple[Client, Answers, list[float]]:
    """A client that is answered so, what it asked, and how long it waited."""
    transport, waits = Answers(*answers), list[float]()
    client = Client("https://appliance.test", "dpe_x", transport=transport)
    client.sleep = waits.append
    return client, transport, waits


NOTHING = requests.exceptions.ConnectionError("reset")


# -- what is asked again --------------------------------------------------------------------------------------


def test_what_creates_is_asked_again_with_the_same_key() -> None:
    client, transport, waits = asking(NOTHING, 503, 201)
    client.create("admin/groups", {"name": "x"})
    keys = {one.headers["Idempotency-Key"] for one in transport.asked}
    assert (len(transport.asked), len(keys), waits) == (3, 1, [0.5, 1.0])


def test_what_would_be_done_twice_is_not_asked_again() -> None:
    client, transport, _ = asking(NOTHING, 200)
    with pytest.raises(Unreachable):
        client.call("POST", "machines/x/release")
    assert len(transport.asked) == 1


def test_who_is_asked_to_wait_waits_so_long() -> None:
    client, _, waits = asking((429, {"Retry-After": "7"}), 200)
    client.call("POST", "machines/x/release")  # nothing was done, so any call may come again
    assert waits == [7]
    client, *_ = asking((429, {"Retry-After": "3600"}))
    with pytest.raises(Refused) as refused:
        client.call("GET", "me")
    assert refused.value.wait == 3600


def test_it_gives_up_in_the_end() -> None:
    client, transport, _ = asking(*[NOTHING] * 9)
    with pytest.raises(Unreachable, match="does not answer"):
        client.call("GET", "me")
    assert len(transport.asked) == 5


@pytest.mark.parametrize(
    ("status", "kind", "code"),
    [
        (400, Refused, 1),
        (401, NotAllowed, 3),
        (403, NotAllowed, 3),
        (404, NotFound, 4),
        (409, Conflict, 5),
        (412, Conflict, 5),
        (303, Refused, 1),
    ],
)
def test_problems_are_exceptions(status: int, kind: type[ClientError], code: int) -> None:
    client, *_ = asking(status)
    with pytest.raises(kind) as caught:
        client.call("POST", "x")
    assert (caught.value.message, caught.value.hint, caught.value.exit_code) == ("No.", "Why.", code)


def test_nothing_goes_elsewhere_than_to_the_appliance() -> None:
    client, transport, _ = asking((302, {"Location": "https://elsewhere.test/"}))
    with pytest.raises(Refused):
        client.call("GET", "me")
    with pytest.raises(Unreachable):
        client.call("POST", "https://elsewhere.test/api/v1/me")
    assert [one.url for one in transport.asked] == ["https://appliance.test/api/v1/me"]


def test_what_was_written_over_meanwhile_stays(client: Callable[..., Client], people: object) -> None:
    mine = client("grace")
    made = mine.create("admin/groups", {"name": "physicists"})
    path = f"admin/groups/{made['id']}"
    _, etag = mine.read(path)
    assert mine.put(f"{path}/members", {"accounts": ["ada"]}, etag)
    with pytest.raises(Conflict):
        mine.put(f"{path}/members", {"accounts": []}, etag)
    assert mine.read(path)[0]["accounts"] == ["ada"]
    assert not mine.put(f"{path}/members", {"accounts": ["ada"]})
    assert Group.select().where(Group.name == "physicists").count() == 1


# -- whom it trusts -------------------------------------------------------------------------------------------


class Server(http.server.ThreadingHTTPServer):
    """That says nothing of those who hang up."""

    def handle_error(self, *_: object) -> None:
        """Whoever does not trust it hangs up."""


class Me(http.server.BaseHTTPRequestHandler):
    """An appliance that answers one call."""

    def do_GET(self) -> None:
        self.server.seen.append(self.headers.get("Authorization"))  # type: ignore[attr-defined]
        body = b'{"name": "ada"}'
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def served(settings: Settings, tmp_path: Path) -> Iterator[Callable[[str], tuple[str, str, list[str]]]]:
    """An appliance on loopback with a certificate of its own: its address, that certificate, and what tokens it has seen."""
    servers = []

    def serve(name: str) -> tuple[str, str, list[str]]:
        theirs = replace(settings, state=tmp_path / name)
        theirs.tls.mkdir(parents=True)
        chain, key = tls.ensure(theirs)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(chain, key)
        server = Server(("127.0.0.1", 0), Me)
        server.seen = []  # type: ignore[attr-defined]
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        servers.append(server)
        return f"https://127.0.0.1:{server.server_port}", chain.read_text(), server.seen  # type: ignore[attr-defined]

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


def test_the_pinned_certificate_and_no_other(served: Callable[[str], tuple[str, str, list[str]]]) -> None:
    address, pem, seen = served("one")
    other_address, other_pem, other_seen = served("other")
    assert certificate.fetch(address) == pem
    assert Client(address, "dpe_x", certificate=pem).me() == {"name": "ada"}
    assert seen == ["Bearer dpe_x"]
    for where, pinned in ((address, other_pem), (other_address, pem), (address, "")):
        with pytest.raises(Untrusted):
            Client(where, "dpe_x", certificate=pinned).me()
    assert (seen, other_seen) == (["Bearer dpe_x"], []), "no token went to whom nobody trusts"


def pair(
    name: str, issuer: tuple[x509.Certificate, ec.EllipticCurvePrivateKey] | None = None
) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    """A certificate that may sign others, and its key; by itself, or by an issuer."""
    key, called = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = (
        x509.CertificateBuilder().subject_name(called).issuer_name(issuer[0].subject if issuer else called).public_key(key.public_key())
    )
    builder = (
        builder.serial_number(x509.random_serial_number())
        .not_valid_before(now() - timedelta(days=1))
        .not_valid_after(now() + timedelta(days=1))
    )
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    return builder.sign(issuer[1] if issuer else key, hashes.SHA256()), key


@pytest.mark.parametrize("way", ["a call", "a stream"])
@pytest.mark.parametrize("signed", [False, True])
def test_whom_the_pinned_certificate_has_signed_is_let_in_by_neither_calls_nor_streams(tmp_path: Path, way: str, signed: bool) -> None:
    pinned = pair("pinned")
    shown, key = pair("another", pinned) if signed else pinned
    (tmp_path / "key").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    (tmp_path / "chain").write_bytes(b"".join(one.public_bytes(serialization.Encoding.PEM) for one in (shown, pinned[0])))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "chain", tmp_path / "key")
    trusting = certificate.context(pinned[0].public_bytes(serialization.Encoding.PEM).decode())
    with Server(("127.0.0.1", 0), Me) as server:
        server.seen = []  # type: ignore[attr-defined]
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()

        def call() -> None:
            with socket.create_connection(server.server_address[:2]) as raw, trusting.wrap_socket(raw):  # type: ignore[arg-type]
                pass

        async def stream() -> None:
            _, writer = await asyncio.open_connection("127.0.0.1", server.server_port, ssl=trusting)
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

        try:
            with pytest.raises(ssl.SSLCertVerificationError, match="not the pinned") if signed else nullcontext():
                call() if way == "a call" else asyncio.run(stream())
        finally:
            server.shutdown()


def test_a_fingerprint_pins_what_it_is_of(served: Callable[[str], tuple[str, str, list[str]]]) -> None:
    address, pem, _ = served("one")
    shown = certificate.fingerprint_of(pem)
    assert certificate.pinned(address, shown.lower().replace(":", "")) == pem
    with pytest.raises(Untrusted, match="has a certificate with the fingerprint"):
        certificate.pinned(address, "00" + shown[2:])
    assert not certificate.is_trusted(address)
