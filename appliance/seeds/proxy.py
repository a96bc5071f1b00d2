"""A forward proxy (RFC 9110, 9.3.6) that leads to a few hosts and nowhere else: the only way out of a sandbox.

It listens in the sandbox's network and connects from the host's, by the host's own proxy if its environment names one.
"""

import base64
import contextlib
import socket
import threading
import urllib.request
from collections.abc import Set as AbstractSet
from urllib.parse import SplitResult, unquote, urlsplit

AT_ONCE = 64  # connections; others wait
LONGEST_HEAD = 64 << 10  # bytes
PATIENCE = 300  # seconds in which nothing comes
PIECE = 64 << 10
PORTS = {"http": 80, "https": 443}


class Refused(Exception):
    """What the client is told: a status and a sentence."""


def serve(listener: socket.socket, hosts: AbstractSet[str]) -> None:
    """Answer in the background from now on; `hosts` are `host:port`, in small letters."""
    threading.Thread(target=_accept, args=(listener, hosts), name="proxy", daemon=True).start()


def _accept(listener: socket.socket, hosts: AbstractSet[str]) -> None:
    free = threading.BoundedSemaphore(AT_ONCE)
    while True:
        free.acquire()
        client, _ = listener.accept()
        threading.Thread(target=_serve, args=(client, hosts, free), daemon=True).start()


def _serve(client: socket.socket, hosts: AbstractSet[str], free: threading.BoundedSemaphore) -> None:
    with contextlib.suppress(OSError), client:
        try:
            client.settimeout(PATIENCE)
            _lead(client, hosts)
        except Refused as refused:
            client.sendall(f"HTTP/1.1 {refused}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n".encode())
    free.release()


def _lead(client: socket.socket, hosts: AbstractSet[str]) -> None:
    head, rest = _head(client)
    try:
        method, target, version = head.split(b"\r\n", 1)[0].decode("ascii").split(" ")
        url = urlsplit(f"//{target}" if method == "CONNECT" else target)
        port = url.port or PORTS.get(url.scheme, 0)
    except ValueError:
        raise Refused("400 This is no request") from None
    if f"{url.hostname}:{port}" not in hosts or (method != "CONNECT" and url.scheme != "http"):
        raise Refused(f"403 A build reaches {', '.join(sorted(hosts))} and nothing else")
    scheme = "https" if method == "CONNECT" else "http"
    above = _above(scheme, url)
    try:
        server = socket.create_connection((above.hostname, above.port or 80) if above else (url.hostname, port), timeout=PATIENCE)
    except OSError as error:
        raise Refused(f"502 {url.hostname} could not be reached: {error.strerror or error}") from error
    with server:
        if method == "CONNECT" and above is None:
            client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        else:
            server.sendall(_request(method, url, version, head, above))
        server.sendall(rest)
        threading.Thread(target=_copy, args=(client, server), daemon=True).start()
        _copy(server, client)


def _head(client: socket.socket) -> tuple[bytes, bytes]:
    """The head of the request, without the empty line, and what came after it."""
    got = b""
    while b"\r\n\r\n" not in got:
        piece = client.recv(PIECE)
        if not piece or len(got) > LONGEST_HEAD:
            raise Refused("400 The request does not end")
        got += piece
    head, _, rest = got.partition(b"\r\n\r\n")
    return head, rest


def _above(scheme: str, url: SplitResult) -> SplitResult | None:
    """The host's own proxy for that, if it has one."""
    named = urllib.request.getproxies().get(scheme)
    if not named or urllib.request.proxy_bypass(url.hostname or ""):
        return None
    return urlsplit(named if "//" in named else f"//{named}")


def _request(method: str, url: SplitResult, version: str, head: bytes, above: SplitResult | None) -> bytes:
    """The request as it goes on, for one answer: each is looked at."""
    whole = url.netloc if method == "CONNECT" else url.geturl() if above else url._replace(scheme="", netloc="").geturl() or "/"
    kept = [line for line in head.split(b"\r\n")[1:] if not line.lower().startswith((b"proxy-", b"connection:", b"keep-alive:"))]
    lines = [f"{method} {whole} {version}".encode(), *kept]
    if above and above.username is not None:
        secret = f"{unquote(above.username)}:{unquote(above.password or '')}"
        lines.append(b"Proxy-Authorization: Basic " + base64.b64encode(secret.encode()))
    if method != "CONNECT":
        lines.append(b"Connection: close")
    return b"\r\n".join(lines) + b"\r\n\r\n"


def _copy(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while piece := source.recv(PIECE):
            target.sendall(piece)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)
