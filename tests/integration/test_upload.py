"""A file of hundreds of MB through the front door as it is, into the folder of uploads: nothing of it is held in memory or twice on disk."""

import hashlib
import os
import re
from collections.abc import Iterator

import psutil
import pytest

from appliance.host.interface.updates import INSPECT, Sent, Staged
from appliance.host.rpc.registry import Host
from appliance.host.updates import installation
from appliance.settings import Settings
from tests.hosted import do_instead, serving
from tests.integration.test_door import Browser, door

__all__ = ["door"]

PAGE = "/admin/server/updates/"
MIB = 1 << 20
SIZE = 300 * MIB


class Taken:
    """What dpe-host was given, in place of a look by RAUC, which is not here."""

    size = 0
    digest = ""

    def inspect(self, args: Sent, host: Host) -> Staged:
        file = host.settings.uploads / args.file
        with file.open("rb") as content:
            self.digest = hashlib.file_digest(content, "sha256").hexdigest()
        self.size = file.stat().st_size
        file.unlink()
        return Staged(version="1.3.0", built="", signed_by="x", size=self.size, system_size=1, by=host.by, at=installation._now())


@pytest.fixture
def taken(door: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Taken]:
    seen = Taken()
    do_instead(monkeypatch, INSPECT, seen.inspect)
    with serving(door):
        yield seen


def web_process(settings: Settings) -> list[psutil.Process]:
    """The processes of the web page of this appliance."""
    house = str(settings.run / "house")
    return [
        one
        for one in psutil.process_iter(["cmdline"])
        if "gunicorn" in " ".join(one.info["cmdline"] or []) and house in " ".join(one.info["cmdline"])
    ]


def memory(processes: list[psutil.Process]) -> int:
    return max(one.memory_info().rss for one in processes)


def pieces() -> Iterator[bytes]:
    piece = os.urandom(MIB)
    for _ in range(SIZE // MIB):
        yield piece


def form(token: str) -> tuple[bytes, bytes]:
    head = f'--frontier\r\nContent-Disposition: form-data; name="csrf_token"\r\n\r\n{token}\r\n--frontier\r\nContent-Disposition: form-data; name="file"; filename="u.raucb"\r\nContent-Type: application/octet-stream\r\n\r\n'
    return head.encode(), b"\r\n--frontier--\r\n"


@pytest.mark.parametrize("by_script", [True, False], ids=["by the script", "by the form alone"])
def test_three_hundred_megabytes_pass_through(door: Settings, taken: Taken, by_script: bool) -> None:
    admin = Browser(door).sign_in("admin")
    token = re.search(rb'name="csrf_token"[^>]*value="([^"]+)"', admin.ask("/account").body)
    assert token
    processes = web_process(door)
    assert processes
    before = memory(processes)
    where = f"https://localhost:{door.https_port}"
    head, tail = (b"", b"") if by_script else form(token[1].decode())
    connection = admin.connect()
    connection.timeout = 300
    connection.putrequest("POST", PAGE + "upload")
    for name, value in {
        "Cookie": "; ".join(f"{name}={value}" for name, value in admin.cookies.items()),
        "Origin": where,
        "Referer": where + PAGE,
        "Sec-Fetch-Site": "same-origin",
        "Sec-Fetch-Mode": "cors" if by_script else "navigate",
        "Content-Type": "application/octet-stream" if by_script else "multipart/form-data; boundary=frontier",
        "Content-Length": str(len(head) + SIZE + len(tail)),
        **({"X-CSRFToken": token[1].decode()} if by_script else {}),
    }.items():
        connection.putheader(name, value)
    connection.endheaders()
    digest, most, other = hashlib.sha256(), before, 0
    connection.send(head)
    for number, piece in enumerate(pieces()):
        connection.send(piece)
        digest.update(piece)
        if number % 25 == 0:
            most = max(most, memory(processes))
            spooled = sum(file.stat().st_size for file in (door.run / "nginx" / "client_body").rglob("*") if file.is_file())
            other = max(other, spooled)
        if number == 150:  # meanwhile everybody else goes on, and nobody else sends
            assert admin.ask("/healthz").status == 200
    connection.send(tail)
    answer = connection.getresponse()
    said = answer.read()
    connection.close()
    assert answer.status == (200 if by_script else 303), said
    assert (taken.size, taken.digest) == (SIZE, digest.hexdigest())
    assert [file.name for file in door.uploads.iterdir()] == ["lock"]
    assert other < MIB  # nginx keeps nothing of it
    most = max(most, memory(processes))
    print(f"memory of the web process: {before >> 20} MiB before, {most >> 20} MiB at most")
    assert most - before < 32 * MIB


def test_one_that_is_cut_off_leaves_nothing_and_the_next_one_goes(door: Settings, taken: Taken) -> None:
    admin = Browser(door).sign_in("admin")
    token = re.search(rb'name="csrf_token"[^>]*value="([^"]+)"', admin.ask("/account").body)
    assert token
    where = f"https://localhost:{door.https_port}"
    headers = {"Origin": where, "Referer": where + PAGE, "X-CSRFToken": token[1].decode(), "Content-Type": "application/octet-stream"}
    connection = admin.connect()
    connection.putrequest("POST", PAGE + "upload")
    for name, value in {**headers, "Cookie": "; ".join(f"{n}={v}" for n, v in admin.cookies.items()), "Content-Length": str(SIZE)}.items():
        connection.putheader(name, value)
    connection.endheaders()
    connection.send(bytes(5 * MIB))
    while not list(door.uploads.glob("*.raucb")):  # it is on its way
        assert connection.sock
    for _ in range(30):  # what is refused is more than any buffer on the way takes, and the answer comes all the same
        busy = admin.ask(PAGE + "upload", method="POST", body=b"x" * 20 * MIB, headers=headers)
        assert busy.status == 409
    assert b"Another file is being sent already" in busy.body
    connection.close()
    answer = busy
    while answer.status == 409:
        answer = admin.ask(PAGE + "upload", method="POST", body=b"x" * MIB, headers=headers)
    assert answer.status == 200
    assert taken.size == MIB
    assert list(door.uploads.glob("*.raucb")) == []


def test_everywhere_else_the_door_is_as_narrow_as_before(door: Settings) -> None:
    admin = Browser(door).sign_in("admin")
    connection = admin.connect()
    connection.putrequest("POST", "/account")
    connection.putheader("Content-Length", str(40 * MIB))
    connection.endheaders()
    assert connection.getresponse().status == 413
    connection.close()
