"""The screen at the server in other languages: each of its screens drawn in one whose texts are marked."""

import re
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from appliance import language
from appliance.catalog import readonly
from appliance.host.console import first_screen, menu, tui
from appliance.host.console.first_screen import Console
from appliance.host.interface import network, system
from appliance.settings import Settings
from tests.unit.webui import marked

pytestmark = pytest.mark.i18n

# What is called the same in every language: processes, people, addresses, keys, and words that are typed as they stand there.
DATA = re.compile(
    r"DPE Appliance|Hillside School|engine|ada|enp1s0|ERASE|https?://\S+|[\dA-F:]{20,}|INFO .*|(MiB|GiB)(?=\d|\b)|\b(SHA|Debian|dpe-host)\b|dpe\b|hunter2|English"
)
FACTS = system.Facts(
    set_up=True, title="Hillside School", machines=system.Machines(in_use=4, ready=3, coming=2, troubled=1), version="1.2.3", host_name="dpe",
    addresses=["192.0.2.10", "192.0.2.11", "192.0.2.12"], port=8443, fingerprint=":".join(["AB"] * 32), storage=system.Room(free=1500, total=99999),
    problems=["The engine is not running: machines in use go on, nothing new is made."],
)  # fmt: skip
CARD = network.Card("enp1s0", "52:54:00:00:00:01", connected=True, speed=1000, addresses=["192.0.2.10/24"])
NETWORK = network.State(ours=True, network=network.Network(mode="dhcp"), name="dpe", cards=[CARD], complaint="", trial=None)
ANSWERS: dict[str, Any] = {
    system.UNITS.name: [
        system.Part(name="engine", about="The front door: lets browsers in.", state="running", since="", memory=90, restarts=0, status="")
    ],
    system.LOGS.name: {"engine": "The front door: lets browsers in."},
    system.LOG_LINES.name: [system.Line(source="engine", at="2026-11-30T10:00:00", level="info", text="INFO all is well")],
    system.OWNERS.name: [system.Owner(name="ada", full_name="", disabled=True)],
    system.RESET_PASSWORD.name: system.Told(name="ada", password="hunter2"),
    network.GET.name: NETWORK,
}


class Shown:
    """A terminal that keeps what is drawn on it, and on which these keys are pressed; none left is Esc."""

    width, height = 200, 40

    def __init__(self, console: Console, keys: Sequence[str]) -> None:
        self.keys: Iterator[str] = iter(keys)
        self.drawn: list[str] = []
        self.say = console.say

    def draw(self, lines: tui.Lines, keys: Sequence[str], *, cursor: tuple[int, int] | None = None) -> None:
        self.drawn += [line.text for line in (tui.MenuLine(one) if isinstance(one, str) else one for one in lines) if line.look != "blocks"]
        self.drawn += map(self.say, keys)

    def wait(self) -> str:
        return next(self.keys, "escape")

    def key(self) -> str:
        return self.wait()


@pytest.fixture
def console(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Console:
    """Which knows all there is to know, and where everything that is asked for is done."""
    monkeypatch.setattr(language, "LANGUAGES", dict(language.LANGUAGES))
    marked.speak(monkeypatch)
    found = Console(settings)
    found.facts, found.chosen = FACTS, marked.NAME
    monkeypatch.setattr(found, "ask", lambda verb, args: ANSWERS.get(verb.name))
    return found


def unsaid(drawn: list[str]) -> list[str]:
    """What stands outside of the marks, and is no data."""
    outside = re.sub(f"{marked.BEGIN}[^{marked.BEGIN}{marked.END}]*{marked.END}", "", "\n".join(drawn))
    while marked.BEGIN in outside and (less := re.sub(f"{marked.BEGIN}[^{marked.BEGIN}{marked.END}]*{marked.END}", "", outside)) != outside:
        outside = less
    return [line for line in outside.split("\n") if re.search(r"[^\W\d_]{2,}", DATA.sub("", line))]


@pytest.mark.parametrize(
    ("verb", "keys"),
    [
        ("status", []), ("logs", ["enter"]), ("admin", ["enter", "2", "enter"]), ("rescue", ["2", "enter"]), ("restart", ["2", "enter"]),
        ("off", ["2", "enter"]), ("reset", ["2", "E", "enter"]), ("network", ["right", "down", "down", *["backspace"] * 12, "down", "down", "down", "down", "enter"]),
        ("open", []),
    ],
)  # fmt: skip
def test_nothing_at_the_screen_is_in_english_alone(console: Console, verb: str, keys: list[str]) -> None:
    screen: Any = Shown(console, keys)
    made = menu.Menu(screen, console)
    made.do("Menu", getattr(made, verb))
    assert any(marked.BEGIN in line for line in screen.drawn)
    assert unsaid(screen.drawn) == []


def test_the_first_screen_is_said_whole(console: Console) -> None:
    rows = [line.text if isinstance(line, tui.MenuLine) else line for line in first_screen.front(console)[len(first_screen.LOGO) :]]
    assert unsaid(rows) == []
    assert any("3" in row and "1" in row for row in rows)
    console.facts = FACTS.model_copy(update={"addresses": [], "set_up": False})
    console.code = "ABCD-EFGH-2345"
    rows = [line.text for line in first_screen.front(console) if isinstance(line, tui.MenuLine) and line.look == "bold"]
    assert f"  {marked.BEGIN}Setup code{marked.END}: ABCD-EFGH-2345" in rows


def test_numbers_are_those_of_the_language(console: Console) -> None:
    assert (first_screen.size(1500, "en"), first_screen.size(1500, "de"), first_screen.size(20480, "de")) == (
        "1.5 GiB",
        "1,5 GiB",
        "20 GiB",
    )


def test_the_appliances_language_counts_until_another_is_chosen_here(settings: Settings) -> None:
    console = Console(settings)
    assert (console.language, console.say("No problems.")) == ("en", "No problems.")
    console.facts = FACTS.model_copy(update={"language": "de"})
    assert (console.language, console.say("No problems."), console.other) == ("de", "Keine Probleme.", "en")
    screen: Any = Shown(console, [])
    menu.Menu(screen, console).switch()
    assert (console.language, console.other) == ("en", "de")
    console.chosen, console.facts = "", FACTS.model_copy(update={"language": "tlh"})
    assert console.language == "en"


def test_texts_that_cannot_be_read_leave_a_screen_in_english(console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(name: str) -> language.Catalog:
        raise OSError("input/output error")

    monkeypatch.setattr(language, "catalog", broken)
    assert console.say("No problems.") == "No problems."


def test_what_a_screens_font_has_not_is_put_otherwise() -> None:
    assert "„Ja“ – …".translate(tui.PLAIN) == '"Ja" - ...'


def test_the_language_is_read_from_the_catalogs_file(opened: Settings) -> None:
    from appliance import catalog
    from appliance.catalog import options

    assert readonly.read_only(opened.catalog).language == "en"
    with catalog.write():
        options.put("language", "de")
    assert readonly.read_only(opened.catalog).language == "de"
