"""What a test-booted machine shows, whatever it says."""

import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest

from appliance.scenario.applications import Page
from appliance.seeds import seen
from tests import silent
from tests.unit.test_framebuffer import RED, begin, pixels, update

Serve = Callable[[dict[str, bytes]], int]
HERE = "127.0.0.1"
PAGE = "<html><head><title>Wiki &amp; more</title><style>p {}</style></head><body><h1>Start\n page</h1><script>bad()</script><p>Hello\u202e.</body>"


def http(content: bytes | str, kind: str = "text/html; charset=utf-8", status: str = "200 OK", *more: str) -> bytes:
    body = content.encode() if isinstance(content, str) else content
    lines = [f"HTTP/1.1 {status}", f"Content-Type: {kind}", f"Content-Length: {len(body)}", "Connection: close", *more]
    return "\r\n".join([*lines, "", ""]).encode() + body


def to(there: str) -> bytes:
    return http("", "text/html", "302 Found", f"Location: {there}")


@pytest.fixture
def serve() -> Iterator[Serve]:
    """A web server that has an answer for each path; returns its port."""
    with ExitStack() as stack:

        def begin(answers: dict[str, bytes]) -> int:
            def talk(line: socket.socket) -> None:
                path = line.recv(4096).split()[1].decode()
                line.sendall(answers.get(path, http("no", "text/plain", "404 Not Found")))

            return stack.enter_context(silent.listening(talk)).port

        yield begin


def look(port: int, folder: Path, path: str = "/", screen: int | None = None) -> dict[str, Any]:
    found = seen.look(HERE, [Page("Ours", port, path, "/")], screen, folder)
    [page] = found["pages"]
    assert (page.pop("title"), page.pop("port"), page.pop("path")) == ("Ours", port, path)
    return dict(page)


def test_a_page_is_told_by_its_status_its_name_and_its_first_words(serve: Serve, tmp_path: Path) -> None:
    port = serve({"/": to("/start?id=a b"), "/start?id=a%20b": http(PAGE)})
    assert look(port, tmp_path) == {"status": 200, "name": "Wiki & more", "text": "Start page Hello."}
    assert list(tmp_path.iterdir()) == []


@pytest.mark.badinput
@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (http("<b>no markup</b>", "text/plain"), {"status": 200, "name": "", "text": "<b>no markup</b>"}),
        (http(b"\x89PNG", "image/png"), {"status": 200, "name": "", "text": "", "kind": "image/png"}),
        (http("<title>One</title><p>Before<![bad[ ]]>", status="500 Oops"), {"status": 500, "name": "One", "text": "Before"}),
        (http("<p>" + "x " * seen.BYTES), {"status": 200, "name": "", "text": ("x " * 200)[: seen.LONGEST]}),
        (http("<svg><title>Icon</title></svg><p>\x00\x1b[31mred"), {"status": 200, "name": "", "text": "[31mred"}),
        (to("http://192.0.2.1/"), {"status": 302, "name": "", "text": ""}),
        (to("/"), {"status": 302, "name": "", "text": ""}),
        (to("/a\tb\x7f"), {"status": 404, "name": "", "text": "no"}),
        (to("http://[half"), {"problem": "Invalid IPv6 URL"}),
    ],
    ids=("plain", "picture", "broken", "long", "drawn", "elsewhere", "itself", "odd", "no address"),
)
def test_whatever_a_machine_answers_is_a_few_words_and_no_fault(
    serve: Serve, tmp_path: Path, answer: bytes, told: dict[str, object]
) -> None:
    assert look(serve({"/": answer}), tmp_path) == told


@pytest.mark.badinput
def test_a_page_that_is_not_there_or_goes_round_is_told(serve: Serve, tmp_path: Path) -> None:
    round_ = {f"/{number}": to(f"/{number + 1}") for number in range(9)}
    assert look(serve(round_), tmp_path, "/0") == {"problem": "It redirects more than 3 times."}
    with silent.listening(lambda line: line.sendall(b"220 no web server\r\n")) as other:
        assert "does not answer as a web server does" in look(other.port, tmp_path)["problem"]
    assert "Nothing listens at" in look(other.port, tmp_path)["problem"]


def test_a_desktop_is_kept_as_a_picture_and_one_that_shows_nothing_is_not(tmp_path: Path) -> None:
    said = begin(1920, 2) + update((0, 0, 1920, 2, RED))

    def draw(line: socket.socket) -> None:
        with suppress(OSError):
            line.sendall(said)

    with silent.listening(draw) as screen:
        assert seen.look(HERE, [], screen.port, tmp_path)["picture"]
    file = tmp_path / seen.PICTURE
    assert (pixels(file.read_bytes())[:2], file.stat().st_mode & 0o777) == ((seen.WIDTH, 1), 0o444)
    with silent.listening(lambda line: line.sendall(b"SSH-2.0-OpenSSH_9\r\n")) as no_screen:
        assert not seen.look(HERE, [], no_screen.port, tmp_path / "none")["picture"]
    assert not seen.look(HERE, [], None, tmp_path / "none")["picture"]
