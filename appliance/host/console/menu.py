"""`python -m appliance.host.console.menu`: the screen at the server, on its own monitor or a serial line.

It says where the appliance is found and how it is, and does what must be possible when the web page cannot be reached. It runs as root and
is there all the time, so it loads little more than what dpe-host can be asked for, which does the work. While that does not answer, quick verbs are done right here.
"""

import contextlib
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from appliance.errors import BadInput, DpeError, Unavailable
from appliance.host.console import tui
from appliance.host.console.tui import Field, MenuLine, Terminal
from appliance.host.interface import disks, network, system
from appliance.host.interface.system import Facts
from appliance.host.rpc.client import Client
from appliance.host.rpc.verb import A, Nothing, R, Verb
from appliance.settings import Settings, load

log = logging.getLogger(__name__)

BY = "the server's screen"
ERASE = "ERASE"  # typed before everything goes; its letters are where an American keyboard has them on most others, too
EVERY = 5.0  # seconds between two looks at how things are
PATIENCE = 120.0  # seconds that dpe-host has to come up before the screen looks for itself, which needs memory

LOGO = """\
  ____  ____  _____
 |  _ \\|  _ \\| ____|
 | | | | |_) |  _|
 | |_| |  __/| |___
 |____/|_|   |_____|""".splitlines()

# Letters that can be read across the room, five by five; those of services.setup.ALPHABET.
LETTERS = {
    "A": ".###. #...# ##### #...# #...#", "B": "####. #...# ####. #...# ####.", "C": ".#### #.... #.... #.... .####",
    "D": "####. #...# #...# #...# ####.", "E": "##### #.... ####. #.... #####", "F": "##### #.... ####. #.... #....",
    "G": ".#### #.... #..## #...# .####", "H": "#...# #...# ##### #...# #...#", "J": "..### ...#. ...#. #..#. .##..",
    "K": "#..#. #.#.. ##... #.#.. #..#.", "M": "#...# ##.## #.#.# #...# #...#", "N": "#...# ##..# #.#.# #..## #...#",
    "P": "####. #...# ####. #.... #....", "Q": ".###. #...# #.#.# #..#. .##.#", "R": "####. #...# ####. #..#. #...#",
    "S": ".#### #.... .###. ....# ####.", "T": "##### ..#.. ..#.. ..#.. ..#..", "U": "#...# #...# #...# #...# .###.",
    "V": "#...# #...# #...# .#.#. ..#..", "W": "#...# #...# #.#.# ##.## #...#", "X": "#...# .#.#. ..#.. .#.#. #...#",
    "Y": "#...# .#.#. ..#.. ..#.. ..#..", "Z": "##### ...#. ..#.. .#... #####", "2": "####. ....# .###. #.... #####",
    "3": "####. ....# .###. ....# ####.", "4": "#..#. #..#. ##### ...#. ...#.", "5": "##### #.... ####. ....# ####.",
    "6": ".###. #.... ####. #...# .###.", "7": "##### ....# ...#. ..#.. ..#..", "8": ".###. #...# .###. #...# .###.",
    "9": ".###. #...# .#### ....# .###.", "-": ".. .. ## .. ..",
}  # fmt: skip


def large(text: str) -> list[MenuLine]:
    """A text of those letters as five lines, at most 78 columns for a setup code."""
    letters = [LETTERS[letter].split() for letter in text if letter in LETTERS]
    return [MenuLine(" " + " ".join(letter[row].replace(".", " ") for letter in letters), "blocks") for row in range(5)]


# -- what is known ---------------------------------------------------------------------------------


class Console:
    """The appliance as the screen knows it: `facts` are renewed by a thread of its own, so that the screen never waits."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.client = Client(settings, BY)
        self.facts: Facts | None = None
        self.code = ""
        self._began = time.monotonic()

    def ask(self, verb: Verb[A, R], args: A) -> R:
        """Use a verb of dpe-host; while nobody listens there, it is done here."""
        try:
            return self.client.call(verb, args)
        except Unavailable as error:
            if not isinstance(error.__cause__, FileNotFoundError | ConnectionRefusedError):
                raise
            return self._here(verb, args)

    def _here(self, verb: Verb[A, R], args: A) -> R:
        from appliance.host.rpc import registry

        registry.load()  # all that dpe-host has loaded
        result: R = registry.find(verb.name).do(args, registry.Host(self.settings, BY))
        return result

    def look(self) -> None:
        """See how things are."""
        try:
            self.facts = self.client.call(system.FACTS)
        except DpeError as error:
            if time.monotonic() - self._began < PATIENCE:
                return  # it has only just been switched on
            try:
                facts = self._here(system.FACTS, Nothing())
            except Exception:
                log.exception("the state of the appliance cannot be found out")
                facts = Facts()
            self.facts = facts.model_copy(update={"problems": [str(error), *facts.problems]})
        try:
            self.code = (self.settings.state / "setup-code").read_text().strip()
        except OSError:
            self.code = ""

    def watch(self) -> None:
        """Look again and again, until the process ends."""

        def keep() -> None:
            while True:  # the first look, too, may wait for somebody who hangs
                self.look()
                time.sleep(EVERY)

        threading.Thread(target=keep, daemon=True).start()

    @property
    def addresses(self) -> list[str]:
        if self.facts is None:
            return []
        port = self.facts.port
        hosts = [f"[{one}]" if ":" in one else one for one in self.facts.addresses]
        return [f"https://{host}{'' if port == 443 else f':{port}'}/" for host in hosts]


# -- the first screen --------------------------------------------------------------------------------


def front(console: Console) -> list[MenuLine | str]:
    """The first screen: where the appliance is found; until it is set up its code, then how it is."""
    facts = console.facts
    beside = {1: "DPE Appliance"}
    if facts:
        beside = {1: f"DPE Appliance {facts.version}".rstrip(), 2: facts.title, 3: facts.host_name}
    lines: list[MenuLine | str] = [MenuLine(f"{row:<24}{beside.get(number, '')}", "bold") for number, row in enumerate(LOGO)]
    lines.append("")
    if not facts:
        return [*lines, "  Starting: one moment."]
    lines += _where(facts, console.addresses)
    if facts.set_up is False and console.code:
        return [*lines, MenuLine(f"  Setup code: {console.code}", "bold"), "", *large(console.code), "", *_problems(facts)]
    return [*lines, *_state(facts), "", *_problems(facts)]


def _where(facts: Facts, addresses: list[str]) -> list[MenuLine | str]:
    if not addresses:
        return ["  No address yet: is the network cable in? F2 sets one by hand.", ""]
    more = f"   and {len(addresses) - 2} more, see Status" if len(addresses) > 2 else ""
    said: list[MenuLine | str] = ["  Open in the browser of another computer:", *(MenuLine(f"    {one}", "bold") for one in addresses[:2])]
    said[-1] = MenuLine(f"    {addresses[:2][-1]}{more}", "bold")
    if prints := facts.fingerprint:
        half = len(prints) // 2 + 1
        said += ["  Its certificate has the SHA-256 fingerprint", f"    {prints[:half]}", f"    {prints[half:]}"]
    return [*said, ""]


def _state(facts: Facts) -> list[MenuLine | str]:
    said: list[MenuLine | str] = []
    if machines := facts.machines:
        also = "".join(f", {n} {word}" for n, word in ((machines.coming, "being made"), (machines.troubled, "with a problem")) if n)
        said.append(f"  Machines   {machines.in_use} in use, {machines.ready} ready{also}")
    if storage := facts.storage:
        said.append(f"  Storage    {size(storage.free)} of {size(storage.total)} are free")
    return said


def _problems(facts: Facts) -> list[MenuLine | str]:
    if not facts.problems:
        return []
    return [MenuLine(part, "warn") for problem in facts.problems for part in tui.wrapped(f"! {problem}", 79)]


def size(mib: int) -> str:
    """MiB as people read it."""
    return f"{mib / 1024:.{0 if mib >= 10240 else 1}f} GiB" if mib >= 1024 else f"{mib} MiB"


# -- the menu -------------------------------------------------------------------------------------------


class Menu:
    """What can be done here, each by a method of its own."""

    def __init__(self, screen: Terminal, console: Console) -> None:
        self.screen = screen
        self.console = console

    def open(self) -> None:
        """The list, until it is left."""
        at = ""
        while True:
            items = {
                "network": ("Address and network", self.network),
                "status": ("Status", self.status),
                "logs": ("Logs", self.logs),
                "admin": ("New password for an admin", self.admin),
                "rescue": ("Rescue: when the web page does not come", self.rescue),
                "reset": ("Factory reset", self.reset),
                "restart": ("Restart", self.restart),
                "off": ("Shut down", self.off),
                "shell": ("Shell, where an admin has allowed it", self.shell),
            }
            at = tui.choose(self.screen, "Menu", "", [(name, label) for name, (label, _) in items.items()], at)
            if not at:
                return
            self.do(items[at][0], items[at][1])

    def do(self, title: str, action: Callable[[], None]) -> None:
        """Do it; whatever goes wrong is said, and the menu goes on."""
        try:
            action()
        except (tui.Left, tui.Gone):
            raise
        except DpeError as error:
            tui.show_message(self.screen, title, [MenuLine(part, "warn") for part in tui.wrapped(str(error), self.screen.width)])
        except Exception as error:
            log.exception("%s failed", title)
            said = f"That failed by an error of the appliance itself ({type(error).__name__}: {error}). The log has the details."
            tui.show_message(self.screen, title, [MenuLine(part, "warn") for part in tui.wrapped(said, self.screen.width)])

    def ask(self, verb: Verb[A, R], args: A) -> R:
        """A verb of dpe-host, the screen alive meanwhile."""
        answer: R = tui.working(self.screen, "One moment", "This may take a minute.", lambda: self.console.ask(verb, args))
        return answer

    def say(self, title: str, *paragraphs: str, look: str = "") -> None:
        said: list[MenuLine | str] = []
        for paragraph in paragraphs:
            said += [*(MenuLine(part, look) for part in tui.wrapped(paragraph, self.screen.width)), ""]
        tui.show_message(self.screen, title, said)

    def sure(self, title: str, text: str, yes: str) -> bool:
        return tui.choose(self.screen, title, text, [("", "No, go back"), ("yes", yes)]) == "yes"

    # -- one each ----

    def status(self) -> None:
        tui.show_message(self.screen, "Status", status(self.console, self.ask(system.UNITS, Nothing())))

    def logs(self) -> None:
        at = ""
        while True:
            sources = self.ask(system.LOGS, Nothing())
            if not sources:
                self.say("Logs", "Nothing here has kept a log yet.")
                return
            names = [(name, f"{name:<10} {about}") for name, about in sources.items()]
            at = tui.choose(self.screen, "Logs", "The last lines of which part?", names, at)
            if not at:
                return
            lines = self.ask(system.LOG_LINES, system.Lines(source=at, most=300))
            said = [
                MenuLine(f"{line.at[11:19]} {line.text}".strip(), "warn" if line.level in ("error", "warning") else "") for line in lines
            ]
            tui.show_message(self.screen, f"Log of {at}", said or ["  It has said nothing yet."], end=True)

    def admin(self) -> None:
        owners = self.ask(system.OWNERS, Nothing())
        about = "Whoever stands at this screen owns the server, so no old password is asked for. The account gets a new random one; its sessions end, and its one-time codes are switched off."
        if owners:
            items = [
                (one.name, one.name + (f" ({one.full_name})" if one.full_name else "") + (", disabled" if one.disabled else ""))
                for one in owners
            ]
            name = tui.choose(self.screen, "New password for an admin", about, items)
        else:
            typed = tui.ask(
                self.screen,
                "New password for an admin",
                f"No account here owns the appliance, so one is made. {about}",
                [Field("name", "Name")],
                _named,
            )
            name = typed["name"] if typed else ""
        if not name or not self.sure("New password for an admin", f"Give {name} a new password now?", "Yes, make a new password"):
            return
        made = self.ask(system.RESET_PASSWORD, system.NewPassword(name=name))
        tui.show_message(
            self.screen,
            "New password for an admin",
            [f"  Name      {made.name}", "", MenuLine(f"  Password  {made.password}", "bold"), "",
             "  It is shown only now: write it down, sign in with it, and set one of your own", "  on your account's page."],
        )  # fmt: skip

    def rescue(self) -> None:
        addresses = [f"{one}rescue/" for one in self.console.addresses] or ["This server has no address yet."]
        about = "The rescue page works when the usual one does not: logs, the state of the disks, restoring a backup, going back to the version before. Sign in there with an admin's name and password."
        items = [
            ("", "Go back"),
            ("web", "Restart the web page"),
            ("engine", "Restart the engine (machines go on)"),
            ("host", "Restart dpe-host"),
        ]
        name = tui.choose(self.screen, "Rescue", f"{about} It is at {' or '.join(addresses)}", items)
        if name:
            self.ask(system.RESTART_UNIT, system.Which.model_validate({"name": name}))
            self.say("Rescue", "It is being restarted. That takes about ten seconds.")

    def in_use(self) -> str:
        machines = self.console.facts.machines if self.console.facts else None
        if machines is None:
            return "How many machines are in use is not known."
        count = machines.in_use
        return "No machine is in use." if not count else f"{count} {'machine is' if count == 1 else 'machines are'} in use."

    def restart(self) -> None:
        about = f"{self.in_use()} Their memory is kept on the disk where there is room, and they go on afterwards."
        if self.sure("Restart", about, "Yes, restart the server"):
            self.ask(system.RESTART, Nothing())
            self.say("Restart", "The server restarts now.")

    def off(self) -> None:
        about = f"{self.in_use()} Nobody can use them until somebody switches the server on again."
        if self.sure("Shut down", about, "Yes, shut the server down"):
            self.ask(system.POWER_OFF, Nothing())
            self.say("Shut down", "The server shuts down now.")

    def reset(self) -> None:
        about = f"{self.in_use()} Everything goes: accounts, machines, people's data, backups on this server, settings. The server then restarts, and is as it came."
        ways = [
            ("", "No, go back"),
            ("quick", "Erase, takes a minute"),
            ("thorough", "Erase and overwrite the disk, takes hours: for a server that is given away"),
        ]
        if not (way := tui.choose(self.screen, "Factory reset", about, ways)):
            return

        def begin(values: dict[str, str]) -> None:
            if values["word"] != ERASE:
                raise BadInput(f"Type {ERASE}, in capital letters, or press Esc to keep everything.")
            self.ask(disks.RESET, disks.Reset(thorough=way == "thorough"))

        if tui.ask(self.screen, "Factory reset", f"{about} It cannot be undone.", [Field("word", f"Type {ERASE}")], begin):
            self.say("Factory reset", "The server restarts now and erases everything.")

    def network(self) -> None:
        title, now = "Address and network", self.ask(network.GET, Nothing())
        if not now.ours:
            self.say(
                title,
                f"This appliance runs on a Debian of your own, which takes care of the network. It is found at {' and '.join(self.console.addresses) or 'no address'}.",
            )
            return
        if (trial := now.trial) and trial.state == "on":
            about = f"{trial.by} is trying other network settings on the web page. Unless they are confirmed there, the old ones are back in {int(trial.left)} seconds."
            choices = [("", "Go back"), ("keep", "Keep the new ones"), ("back", "Take them back now")]
            chosen = tui.choose(self.screen, title, about, choices)
            if chosen == "keep":
                self.ask(network.CONFIRM, network.Token())
            elif chosen:
                self.ask(network.TAKE_BACK, Nothing())
            return
        if not now.cards:
            raise Unavailable(
                "No network interface was found in this server.", "Put one in that Linux knows; most Intel and Realtek cards work."
            )
        fields = network_fields(now)

        def use(values: dict[str, str]) -> None:
            wanted = network_of(values, fields)
            if any(field.error for field in fields):
                return
            if values["name"] != now.name:
                self.ask(network.SET_NAME, network.Name(name=values["name"]))
                now.name = values["name"]
            self.ask(network.SET, network.Set.model_validate({"network": wanted, "seconds": 0}))

        if tui.ask(self.screen, title, "What is given here is used at once, and kept.", fields, use):
            self.console.look()
            self.say(
                title,
                f"Done. The appliance is found at {' and '.join(self.console.addresses)}"
                if self.console.addresses
                else "Done. There is no address yet: it may take half a minute to come.",
            )

    def shell(self) -> None:
        if not self.ask(system.FACTS, Nothing()).shell:
            self.say(
                "Shell",
                "The appliance needs no shell. An admin who wants one all the same allows it on the web page: Server, Console shell.",
            )
            return
        from appliance import run

        with self.screen.away():
            print("\nA shell of root. What is changed here may break the appliance. Ctrl-D ends it.\n", flush=True)
            run.interactive(["/bin/bash", "--login"])
            with contextlib.suppress(OSError):
                os.tcsetpgrp(0, os.getpgrp())


def status(console: Console, parts: list[system.Part]) -> list[MenuLine | str]:
    """All that is known, as lines."""
    facts = console.facts
    if not facts:
        return ["  Starting: one moment."]
    said: list[MenuLine | str] = [
        f"  Version    {facts.version or 'not an image'}",
        f"  Host name  {facts.host_name}",
        *(f"  Address    {one}" for one in console.addresses or ["none"]),
        *_state(facts),
        "",
    ]
    for part in parts:
        memory = f"{part.memory} MiB" if part.memory else ""
        said.append(MenuLine(f"  {part.name:<10} {part.state:<9} {memory:>9}  {part.status}", "" if part.state == "running" else "warn"))
    return [*said, "", *(_problems(facts) or ["  No problems."])]


def network_fields(now: network.State) -> list[Field]:
    """The form for the network, filled in with what is used now."""
    used, cards = now.network, now.cards
    names = {card.name: f"{card.name}, {'cable is in' if card.connected else 'no cable'}" for card in cards}
    card = next((one.name for one in cards if used.card in (one.name, one.mac)), "")
    best = card or next((one.name for one in cards if one.connected), cards[0].name)
    present = next((text for one in cards if one.name == best for text in one.addresses if ":" not in text), "")
    address, _, prefix = (used.address or present).partition("/")

    def fixed(values: dict[str, str]) -> bool:
        return values["mode"] == "static"

    return [
        Field("mode", "Address", used.mode, choices=[("dhcp", "by DHCP, from your router"), ("static", "fixed, given here")]),
        Field("card", "Interface", best, choices=list(names.items()), shown=fixed),
        Field("address", "IP address", address, "Like 192.168.1.20", shown=fixed),
        Field("mask", "Network mask", prefix or "24", "24 is 255.255.255.0; either can be typed.", shown=fixed),
        Field("gateway", "Gateway", used.gateway, "Your router's address. Empty: this network only.", shown=fixed),
        Field("dns", "Name servers", " ".join(used.dns), "Addresses, with spaces between; often your router's.", shown=fixed),
        Field("name", "Host name", now.name, "Lower-case letters, digits and dashes."),
    ]


def network_of(values: dict[str, str], fields: list[Field]) -> dict[str, Any]:
    """What was typed as dpe-host takes it; sets the errors of fields that are empty."""
    if values["mode"] == "dhcp":
        return {"mode": "dhcp", "card": ""}
    for field in fields:
        if field.name in ("address", "mask") and not field.value.strip():
            field.error = "This is needed for a fixed address."
    address = f"{values['address'].strip()}/{values['mask'].strip().lstrip('/')}"
    return {"mode": "static", "card": values["card"], "address": address, "gateway": values["gateway"], "dns": values["dns"].split()}


def _named(values: dict[str, str]) -> None:
    if not values["name"]:
        raise BadInput("Type a name.")


# -- the program -------------------------------------------------------------------------------------------


def run(screen: Terminal, console: Console) -> None:
    """The first screen, and from there the menu, until the terminal is gone."""
    menu = Menu(screen, console)
    while True:
        screen.draw(front(console), "Enter: menu   F2: address and network   F3: status")
        key = screen.key()
        with contextlib.suppress(tui.Left):
            if key in ("enter", " ", "f1"):
                menu.do("Menu", menu.open)
            elif key == "f2":
                menu.do("Address and network", menu.network)
            elif key == "f3":
                menu.do("Status", menu.status)


def main() -> None:
    """Until the terminal is gone; systemd then starts another one."""
    os.umask(0o077)
    logging.basicConfig(format="%(levelname)s %(name)s: %(message)s", handlers=[logging.NullHandler()] if sys.stderr.isatty() else None)
    for signum in (signal.SIGINT, signal.SIGQUIT, signal.SIGTSTP, signal.SIGHUP):
        signal.signal(signum, lambda *_: None)  # not ignored, which a shell would inherit
    signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    console = Console(load())
    console.watch()
    with contextlib.suppress(tui.Gone):
        tui.opened(lambda screen: run(screen, console))


if __name__ == "__main__":
    main()
