"""What the machine of a seed's test boot showed: kept with the seed, so that an admin sees what people will get before anybody has it.

All of it is the machine's own words, which somebody's role or application may have written. So little of it is read, and in little time; it comes out as
text and as a picture that is drawn here; and whatever it says, or does not, the build goes on.
"""

import re
import socket
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import quote, urljoin, urlsplit, urlunsplit

from appliance import connect, framebuffer
from appliance.connect import Reply
from appliance.errors import DpeError
from appliance.scenario.applications import Page

PICTURE = "screen.png"  # among the seed's files
WIDTH = 960  # pixels
WITHIN = 10.0  # seconds for a page with what it redirects to, or for a picture
REDIRECTS = 3
BYTES = 64 << 10  # that are read of a page
LONGEST = 400  # characters of its text that are kept
ACCEPT = {"Accept": "text/html, text/plain;q=0.9, */*;q=0.1"}
_SAFE = "/%~@!$&()*+,;=:?"  # in an address that a machine wrote: all else is escaped
_UNSEEN = frozenset({"script", "style", "template", "noscript", "svg", "head"})


def look(address: str, pages: Sequence[Page], screen: int | None, folder: Path) -> dict[str, Any]:
    """What the machine at the address shows: its `pages`, each with status, name and the first words, or the `problem`; `at`, ISO 8601; and whether there
    is a `picture` of its desktop, which is at port `screen`, in the folder."""
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "pages": [{"title": page.title, "port": page.port, "path": page.path, **_answer(address, page)} for page in pages],
        "picture": screen is not None and _picture(address, screen, folder / PICTURE),
    }


def _picture(address: str, port: int, file: Path) -> bool:
    try:
        with socket.create_connection((address, port), WITHIN) as connected:
            file.write_bytes(framebuffer.take(connected, WITHIN, WIDTH))
    except (OSError, framebuffer.NoPicture):
        return False
    file.chmod(0o444)
    return True


def _answer(address: str, page: Page) -> dict[str, Any]:
    here, where = page.path, f"{address}:{page.port}"
    try:
        for _ in range(REDIRECTS + 1):
            parts = urlsplit(here)
            asked = urlunsplit(("http", where, quote(parts.path, safe=_SAFE), quote(parts.query, safe=_SAFE), ""))
            with connect.exchange("GET", asked, ACCEPT, reach=WITHIN, whole=WITHIN) as reply:
                there = urljoin(asked, reply.header("Location")) if reply.status in (301, 302, 303, 307, 308) else asked
                if there == asked or urlsplit(there).netloc != where:
                    return {"status": reply.status, **_words(reply)}
                here = there
    except (DpeError, ValueError) as error:
        return {"problem": _line(str(error))[:LONGEST]}
    return {"problem": f"It redirects more than {REDIRECTS} times."}


def _words(reply: Reply) -> dict[str, str]:
    """The name of the page and its first words; of what is no text, its kind."""
    kind = reply.header("Content-Type").partition(";")[0].strip().lower()
    content = reply.read(BYTES)
    if kind and not (kind.startswith("text/") or kind in ("application/json", "application/xhtml+xml")):
        return {"name": "", "text": "", "kind": _line(kind)[:80]}
    text = content.decode("utf-8", errors="replace")
    if "html" not in kind:
        return {"name": "", "text": _line(text)[:LONGEST]}
    read = _Read()
    with suppress(AssertionError):  # what html.parser says of some marked sections; what came before is read
        read.feed(text)
        read.close()
    return {"name": _line("".join(read.name))[:120], "text": _line(" ".join(read.text))[:LONGEST]}


def _line(text: str) -> str:
    """The same in one line, without signs that show nothing or turn what follows around."""
    return "".join(sign for sign in re.sub(r"\s+", " ", text) if sign.isprintable()).strip()


class _Read(HTMLParser):
    """The title of a page, and the text that a browser shows without its scripts."""

    def __init__(self) -> None:
        super().__init__()
        self.name, self.text = list[str](), list[str]()
        self._in = list[str]()  # what is open of _UNSEEN, and the title

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "body":
            self._in.clear()
        elif tag in _UNSEEN or (tag == "title" and "svg" not in self._in):
            self._in.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in self._in:
            del self._in[self._in.index(tag) :]

    def handle_data(self, data: str) -> None:
        if self._in[-1:] == ["title"]:
            self.name.append(data)
        elif not self._in:
            self.text.append(data)
