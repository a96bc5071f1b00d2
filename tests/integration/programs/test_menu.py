"""The screen at the server: the real program on a terminal, a real dpe-host, a real catalog."""

import os
import shutil
import signal
import socket
import threading
from collections import namedtuple
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from appliance import catalog
from appliance.access import tls
from appliance.catalog import Account, Event, SecondFactor, Session, options
from appliance.host.console import first_screen, menu, status
from appliance.host.disks import reset
from appliance.host.interface.system import OWNERS
from appliance.host.rpc.daemon import Server
from appliance.host.rpc.registry import Host
from appliance.host.rpc.verb import Nothing
from appliance.host.system import config, image, network, power
from appliance.identity import passwords
from appliance.services import second_factor, sessions
from appliance.services.setup import ALPHABET
from appliance.settings import Settings
from tests import world
from tests.hosted import do_instead, serving
from tests.terminal import Screen

GOLDEN = Path(__file__).parent / "golden"
PRINT = ":".join(f"{number:02X}" for number in range(32))
Usage = namedtuple("Usage", "total used free")


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """Compare a screen with a golden file, or write it with --regenerate."""

    def compare(name: str, shown: str) -> None:
        file = GOLDEN / f"{name}.txt"
        if request.config.getoption("--regenerate"):
            file.parent.mkdir(exist_ok=True)
            file.write_text(shown)
        assert shown == file.read_text()

    return compare


@pytest.fixture
def house(opened: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """An appliance whose addresses, disk and name are always the same."""
    monkeypatch.setattr(status, "addresses", lambda settings: ["192.0.2.10", "2001:db8::10"])
    monkeypatch.setattr(status, "_certificate", lambda settings: PRINT)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(100 << 30, 30 << 30, 70 << 30))
    monkeypatch.setattr(socket, "gethostname", lambda: "dpe")
    return opened


@pytest.fixture
def server(house: Settings) -> Iterator[Server]:
    with serving(house) as server:
        yield server


@pytest.fixture
def fresh(house: Settings) -> Settings:
    """Not yet set up."""
    world.machine_class("notebook", world.NOTEBOOK)
    world.engine(world.EMULATED)
    (house.state / "setup-code").write_text("ABCD-EFGH-2345\n")
    return house


@pytest.fixture
def busy(house: Settings) -> Settings:
    world.busy(house)
    return house


def test_until_it_is_set_up_the_screen_shows_the_way(fresh: Settings, server: Server, golden: Callable[[str, str], None]) -> None:
    with Screen(fresh) as screen:
        golden("first", screen.until("Setup code: ABCD-EFGH-2345"))
        world.set_up()
        (fresh.state / "setup-code").unlink()
        assert "Setup code" not in screen.until("Hillside School")
        assert "Machines   0 in use, 0 ready" in screen.text


def test_every_letter_of_a_setup_code_can_be_shown_large() -> None:
    assert set(ALPHABET) | {"-"} == set(first_screen.LETTERS)
    shapes = {tuple(line.text for line in first_screen.large(letter)) for letter in first_screen.LETTERS}
    assert len(shapes) == len(first_screen.LETTERS)
    for worst in ("MMMM-WWWW-QQQQ", "8888-BBBB-8888"):
        assert {len(line.text) for line in first_screen.large(worst)} == {79 - 1}


def test_without_an_address_it_says_what_to_do(fresh: Settings, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status, "addresses", lambda settings: [])
    with Screen(fresh) as screen:
        screen.until("No address yet: is the network cable in? F2 sets one by hand.")
        monkeypatch.setattr(status, "addresses", lambda settings: ["192.0.2.77"])  # the cable is in
        screen.until("https://192.0.2.77:8443/")


def test_then_it_says_how_things_are(busy: Settings, server: Server, golden: Callable[[str, str], None]) -> None:
    with Screen(busy) as screen:
        golden("busy", screen.until("4 in use, 3 ready"))
        before = screen.sent
        with catalog.write():
            catalog.Engine.update(hypervisor_ok=False, hypervisor_problem="libvirtd does not answer.").execute()
        screen.until("! Machines cannot be made: libvirtd does not answer.")
        assert 0 < screen.sent - before < 400  # a slow line gets what has changed, not the screen


def test_nothing_is_sent_while_nothing_changes(busy: Settings, server: Server) -> None:
    with Screen(busy) as screen:
        screen.until("4 in use")
        before = screen.sent
        looked = threading.Event()
        asked, real = [], server.answer

        def answer(question: bytes, *, root: bool) -> dict[str, object]:
            asked.append(question)
            if len(asked) == 3:
                looked.set()
            return real(question, root=root)

        server.answer = answer  # type: ignore[method-assign]
        assert looked.wait(30)
        assert not screen.read(1)
        assert screen.sent == before


def test_the_menu_by_arrows_and_numbers(busy: Settings, server: Server, golden: Callable[[str, str], None]) -> None:
    with Screen(busy) as screen:
        screen.until("4 in use")
        screen.press("enter")
        golden("menu", screen.until("Factory reset"))
        for key in ("down", "\x1bOB"):  # as a terminal in its other mode sends it
            screen.press(key)
        assert "█3██Logs██" in screen.until(" 3  Logs ")
        screen.press("escape")
        screen.until("4 in use")
        screen.press("enter", "8")
        screen.until("4 machines are in use.")
        screen.press("escape")
        screen.until("█8██Shut█down██")


@pytest.mark.i18n
def test_it_speaks_the_appliances_language_and_another_at_a_key(busy: Settings, server: Server) -> None:
    with catalog.write():
        options.put("language", "de")
    with Screen(busy) as screen:
        screen.until("Maschinen  4 benutzt, 3 bereit, 2 im Bau")
        screen.until("F4: English", at=23)
        screen.press("f4")
        screen.until("Machines   4 in use, 3 ready, 2 being made")
        screen.press("\x1b[[D")  # F4 as Linux's own console sends it
        screen.until("4 benutzt")
        screen.press("enter", "8")
        screen.until("2  Ja, den Server herunterfahren")
        screen.until("Auf, Ab: bewegen   Enter: wählen   Esc: zurück", at=23)
        screen.press("escape", "down", "down", "enter")  # the last one of the menu
        screen.until("10  Deutsch")


def test_a_smaller_and_a_larger_terminal(busy: Settings, server: Server) -> None:
    with Screen(busy) as screen:
        screen.until("4 in use")
        screen.resize(40, 10)
        assert len(screen.until("Enter: menu").splitlines()) == 10
        screen.press("enter")
        screen.until("Address and network")
        screen.press("end")
        screen.until(" 9  Shell, where")
        screen.resize(132, 43)
        screen.until(" 1  Address and network")
        assert screen.until(" Up,", at=42).splitlines()[42].startswith("█Up,")


def test_keys_that_end_other_programs_do_nothing(busy: Settings, server: Server) -> None:
    with Screen(busy) as screen:
        screen.until("4 in use")
        screen.press("\x03", "\x1a", "\x1c", "\x04", "\x13", "\x00", "\x1b[99;1~", "\xff")
        for signum in (signal.SIGINT, signal.SIGQUIT, signal.SIGTSTP, signal.SIGHUP):
            screen.process.send_signal(signum)
        screen.press("enter")
        screen.until("Factory reset")
        assert screen.process.poll() is None


def test_it_ends_when_its_terminal_is_gone(busy: Settings, server: Server) -> None:
    with Screen(busy) as screen:
        screen.until("4 in use")
        os.close(screen.master)
        assert screen.process.wait(30) == 0
        screen.master = os.open(os.devnull, os.O_RDONLY)


def test_a_new_password_for_an_owner(busy: Settings, server: Server, golden: Callable[[str, str], None]) -> None:
    grace = Account.get(Account.name == "grace")
    sessions.sign_in("grace", world.PASSWORD, "192.0.2.7")
    with catalog.write():
        SecondFactor.create(account=grace, secret="JBSWY3DPEHPK3PXP", confirmed_at=catalog.now())
    with Screen(busy) as screen:
        screen.until("4 in use")
        screen.press("enter", "4")
        golden("owners", screen.until("1  grace (Grace Hopper)"))
        assert "ada" not in screen.text
        screen.press("enter")
        screen.until("Give grace a new password now?")
        screen.press("escape")
        screen.until("Factory reset")
        assert Session.select().count() == 1
        screen.press("enter", "enter")
        screen.until("Give grace a new password now?")
        screen.press("2")
        shown = screen.until("Password  ")
    password = shown.split("Password  ")[1].split()[0]
    assert passwords.matches(Account.get(Account.name == "grace").password, password)
    assert Session.select().count() == 0
    assert not second_factor.is_on(grace.id)
    _, account = sessions.sign_in("grace", password, "192.0.2.7")
    assert account.name == "grace"
    event = Event.select().where(Event.kind == "account.password").order_by(Event.id.desc()).get()
    assert "at the server's screen gave grace a new password, and turned their one-time codes off" in event.message
    assert password not in event.message


def test_where_nobody_owns_the_appliance_an_owner_is_made(busy: Settings, server: Server) -> None:
    with catalog.write():
        catalog.Grant.delete().where(catalog.Grant.role == "owner").execute()
    with Screen(busy) as screen:
        screen.until("4 in use")
        screen.press("enter", "4")
        screen.until("No account here owns the appliance")
        screen.press("enter")
        screen.until("Type a name.")
        screen.press("ada", "enter", "2")
        screen.until("There is already an account ada")
        screen.press("enter", "enter")
        screen.until("No account here owns")
        screen.press("herx", "backspace", "o", "enter", "2")
        password = screen.until("Password  ").split("Password  ")[1].split()[0]
    assert sessions.sign_in("hero", password, "192.0.2.7")[1].name == "hero"


def test_before_it_is_set_up_there_is_nobody_to_reset(fresh: Settings, server: Server) -> None:
    with Screen(fresh) as screen:
        screen.until("Setup code")
        screen.press("enter", "4")
        screen.until("The appliance has not been set up yet")
        screen.press("enter")
        screen.until("Factory reset")


# -- what only the image does --------------------------------------------------------------------------

CARDS = [
    network.Card("enp1s0", "52:54:00:00:00:01", connected=False, speed=0, addresses=[]),
    network.Card("enp2s0", "52:54:00:00:00:02", connected=True, speed=1000, addresses=["192.0.2.10/24", "2001:db8::10"]),
]


@pytest.fixture
def booted(busy: Settings, server: Server, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """As in the bootable image: what would be done to the server, in order."""
    done: list[Any] = []
    built = image.Image(version="1.2.3", built_at="2026-11-21T10:00:00+00:00", scenario="notebook")
    monkeypatch.setattr(image, "boot_image", lambda *_: built)
    monkeypatch.setattr(network, "cards", lambda *_: CARDS)
    monkeypatch.setattr(network, "holder", lambda card, address: "52:54:00:99:99:99" if address == "192.0.2.66" else "")
    monkeypatch.setattr(network, "_use", lambda *args, **_: done.append(args[-1].network.model_dump()))
    monkeypatch.setattr(power, "run", lambda command, **_: done.append(command[-1]))
    monkeypatch.setattr(reset, "run", lambda command, **_: done.append(command[-1]))
    monkeypatch.setattr(reset, "write_note", lambda note: done.append(note.thorough))
    return done


def test_a_fixed_address_is_given_at_the_screen(busy: Settings, booted: list[Any], golden: Callable[[str, str], None]) -> None:
    with Screen(busy) as screen:
        screen.until("DPE Appliance 1.2.3")
        screen.press("f2")
        screen.until("by DHCP, from your router")
        screen.press("right", "down")
        screen.until("> Interface")
        assert "enp2s0, cable is in" in screen.text
        screen.press("enter", *["backspace"] * 16, "192.0.2.66", "enter", "enter", "192.0.3.1", "enter", "192.0.2.1", "enter", "enter")
        screen.until("is not in the network of the address")
        screen.press("up", "up", *["backspace"] * 16, "192.0.2.1", "down", "down", "enter")
        golden("network", screen.until("192.0.2.66 is in use already, by the device with the MAC address"))
        assert booted == []
        screen.press("up", "up", "up", "up", "backspace", "7", "down", "down", "down", "down", "enter")
        screen.until("Done. The appliance is found at")
    assert booted == [{"mode": "static", "card": "enp2s0", "address": "192.0.2.67/24", "gateway": "192.0.2.1", "dns": ["192.0.2.1"]}]
    assert config.read(busy)[0].network.address == "192.0.2.67/24"


@pytest.mark.badinput
def test_an_address_that_is_missing_is_said_at_its_place(busy: Settings, booted: list[Any]) -> None:
    with Screen(busy) as screen:
        screen.until("DPE Appliance 1.2.3")
        screen.press("f2")
        screen.until("by DHCP")
        screen.press("right", "down", "down", *["backspace"] * 16, "down", "down", "down", "down", "enter")
        screen.until("This is needed for a fixed address.")
        screen.press("escape")
        screen.until("4 in use")
    assert booted == []


def test_factory_reset_is_asked_for_twice(busy: Settings, booted: list[Any], golden: Callable[[str, str], None]) -> None:
    with Screen(busy) as screen:
        screen.until("4 in use")
        screen.press("enter", "6")
        golden("reset", screen.until("Erase and overwrite"))
        screen.press("2")
        screen.until("Type ERASE")
        screen.press("erase", "enter")
        screen.until("in capital letters")
        assert booted == []
        screen.press(*["backspace"] * 5, "ERASE", "enter")
        screen.until("The server restarts now and erases everything.")
    assert booted == [False, "reboot"]


def test_shutting_down_says_who_is_there_and_asks(busy: Settings, booted: list[Any]) -> None:
    with Screen(busy) as screen:
        screen.until("4 in use")
        screen.press("enter", "8")
        screen.until("4 machines are in use.")
        screen.press("enter")  # the first answer is no
        screen.until("Factory reset")
        assert booted == []
        screen.press("enter", "2")
        screen.until("The server shuts down now.")
        screen.press("enter", "7", "2")
        screen.until("The server restarts now.")
    assert booted == ["poweroff", "reboot"]


def test_a_shell_only_when_an_admin_allowed_it(busy: Settings, server: Server) -> None:
    with Screen(busy) as screen:
        screen.until("4 in use")
        screen.press("enter", "9")
        screen.until("on the web page: Server")
        with config.change(busy) as host:
            host.shell_enabled = True
        screen.press("enter")
        screen.until("Factory reset")
        screen.press("enter")
        screen.until("A shell of root.")
        screen.press("echo $((6 * 7)) in the shell\r")
        screen.until("42 in the shell")
        screen.press("sleep 100\r", "\x03", "exit\r")
        screen.until("Factory reset")


def test_logs_and_status(busy: Settings, server: Server) -> None:
    (busy.logs / "engine.log").write_text("".join(f"INFO line {number}\n" for number in range(1, 101)) + "ERROR it broke\n")
    with Screen(busy) as screen:
        screen.until("4 in use")
        screen.press("enter", "3")
        screen.until("1  engine")
        screen.press("enter")
        screen.until("ERROR it broke")
        screen.until("(81-101 / 101)")
        screen.press("page up")
        screen.until("INFO line 60")
        screen.press("home", "escape", "escape")
        screen.until("Factory reset")
        screen.press("2")
        screen.until("Version    not an image")


# -- when something is broken -----------------------------------------------------------------------------


def test_a_broken_catalog_is_said_and_the_rest_works(busy: Settings, server: Server) -> None:
    with Screen(busy) as screen:
        screen.until("4 in use")
        catalog.close()
        for file in busy.catalog.parent.glob("catalog.db*"):
            file.write_bytes(b"no catalog at all " * 1000)
        screen.until("! The catalog, which remembers everything, cannot be read")
        assert "https://192.0.2.10:8443/" in screen.text
        screen.press("enter", "4")
        said = screen.until("backup.")  # where the lines before end depends on the length of the path
        assert "cannot be opened" in " ".join(said.split())
        screen.press("enter")
        screen.until("Factory reset")


def test_without_dpe_host_the_screen_helps_itself(busy: Settings) -> None:
    """Address and password come from the program itself when nobody answers for long."""
    with Screen(busy, patience=1) as screen:
        screen.until("(dpe-host) does")
        assert "4 in use, 3 ready" in screen.text
        screen.press("enter", "4")
        screen.until("1  grace (Grace Hopper)")
        screen.press("enter", "2")
        password = screen.until("Password  ").split("Password  ")[1].split()[0]
        assert sessions.sign_in("grace", password, "192.0.2.7")
        screen.press("enter", "escape")
        with serving(busy):
            assert "dpe-host" not in screen.until("Storage    70 GiB of 100 GiB are free")


def test_while_dpe_host_starts_it_says_so(busy: Settings) -> None:
    with Screen(busy) as screen:
        screen.until("Starting: one moment.")
        with serving(busy):
            screen.until("Hillside School")


def test_an_error_of_ours_is_said_and_the_menu_goes_on(busy: Settings, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(args: Nothing, host: Host) -> list[str]:
        return ["not", "what", "is", "expected"]

    do_instead(monkeypatch, OWNERS, broken)
    with Screen(busy) as screen:
        screen.until("4 in use")
        screen.press("enter", "4")
        screen.until("That failed by an error of the appliance itself. The log of dpe-host has")
        screen.press("enter", "escape")
        screen.until("4 in use")


def test_an_error_of_the_menu_itself_is_said_too(busy: Settings) -> None:
    class Shown:
        width, height = 80, 25
        rows: ClassVar[list[str]] = []
        say = str

        def draw(self, lines: list[Any], _keys: list[str]) -> None:
            self.rows += [getattr(line, "text", line) for line in lines]

        def wait(self) -> str:
            return "enter"

    menu.Menu(Shown(), first_screen.Console(busy)).do("Status", lambda: len(None))
    assert "That failed by an error of the appliance itself (TypeError" in " ".join(Shown.rows)


def test_the_real_facts(opened: Settings) -> None:
    world.busy(opened)
    tls.ensure(opened)
    with serving(opened), Screen(opened) as screen:
        shown = screen.until("https://")
    assert tls.fingerprint(opened.tls / "appliance.crt")[:47] in shown
    assert "127.0.0.1" not in shown
