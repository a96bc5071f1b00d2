"""`python -m appliance.host.console.menu`: the screen at the server, on its own monitor or a serial line.

It says where the appliance is found and how it is, and does what must be possible when the web page cannot be reached. It runs as root and
is there all the time, so it loads little more than what dpe-host can be asked for, which does the work. While that does not answer, quick verbs are done right here.
"""

import contextlib
import logging
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from appliance.errors import BadInput, DpeError, Unavailable
from appliance.host.console import tui
from appliance.host.console.first_screen import Console, front, status
from appliance.host.console.tui import Field, MenuLine, Terminal
from appliance.host.interface import disks, network, system
from appliance.host.rpc.verb import A, Nothing, R, Verb
from appliance.language import LANGUAGES
from appliance.settings import load

log = logging.getLogger(__name__)

ERASE = "ERASE"  # typed before everything goes; its letters are where an American keyboard has them on most others, too

# -- the menu -------------------------------------------------------------------------------------------


class Menu:
    """What can be done here, each by a method of its own."""

    def __init__(self, screen: Terminal, console: Console) -> None:
        self.screen = screen
        self.console = console
        self.say = console.say

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
                "language": (LANGUAGES[self.console.other], self.switch),
            }
            at = tui.choose(self.screen, "Menu", "", [(name, self.say(label)) for name, (label, _) in items.items()], at)
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
            tui.show_message(self.screen, title, [MenuLine(part, "warn") for part in tui.wrapped(self.say(str(error)), self.screen.width)])
        except Exception as error:
            log.exception("%s failed", title)
            said = f"That failed by an error of the appliance itself ({type(error).__name__}: {error}). The log has the details."
            tui.show_message(self.screen, title, [MenuLine(part, "warn") for part in tui.wrapped(self.say(said), self.screen.width)])

    def switch(self) -> None:
        """Speak the next language from now on, at this screen."""
        self.console.chosen = self.console.other

    def ask(self, verb: Verb[A, R], args: A) -> R:
        """A verb of dpe-host, the screen alive meanwhile."""
        answer: R = tui.working(self.screen, "One moment", "This may take a minute.", lambda: self.console.ask(verb, args))
        return answer

    def tell(self, title: str, *paragraphs: str, look: str = "") -> None:
        said: list[MenuLine | str] = []
        for paragraph in paragraphs:
            said += [*(MenuLine(part, look) for part in tui.wrapped(self.say(paragraph), self.screen.width)), ""]
        tui.show_message(self.screen, title, said)

    def sure(self, title: str, text: str, yes: str) -> bool:
        return tui.choose(self.screen, title, text, [("", self.say("No, go back")), ("yes", self.say(yes))]) == "yes"

    # -- one each ----

    def status(self) -> None:
        tui.show_message(self.screen, "Status", status(self.console, self.ask(system.UNITS, Nothing())))

    def logs(self) -> None:
        at = ""
        while True:
            sources = self.ask(system.LOGS, Nothing())
            if not sources:
                self.tell("Logs", "Nothing here has kept a log yet.")
                return
            names = [(name, f"{name:<10} {self.say(about)}") for name, about in sources.items()]
            at = tui.choose(self.screen, "Logs", "The last lines of which part?", names, at)
            if not at:
                return
            lines = self.ask(system.LOG_LINES, system.Lines(source=at, most=300))
            said = [
                MenuLine(f"{line.at[11:19]} {line.text}".strip(), "warn" if line.level in ("error", "warning") else "") for line in lines
            ]
            tui.show_message(self.screen, f"Log of {at}", said or [f"  {self.say('It has said nothing yet.')}"], end=True)

    def admin(self) -> None:
        owners = self.ask(system.OWNERS, Nothing())
        about = "Whoever stands at this screen owns the server, so no old password is asked for. The account gets a new random one; its sessions end, and its one-time codes are switched off."
        if owners:
            items = [
                (
                    one.name,
                    one.name + (f" ({one.full_name})" if one.full_name else "") + (f", {self.say('disabled')}" if one.disabled else ""),
                )
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
            [f"  {self.say('Name'):<9} {made.name}", "", MenuLine(f"  {self.say('Password'):<9} {made.password}", "bold"), "",
             *tui.wrapped(self.say("It is shown only now: write it down, sign in with it, and set one of your own on your account's page."), self.screen.width)],
        )  # fmt: skip

    def rescue(self) -> None:
        addresses = [f"{one}rescue/" for one in self.console.addresses]
        about = "The rescue page works when the usual one does not: logs, the state of the disks, restoring a backup, going back to the version before. Sign in there with an admin's name and password."
        where = f"It is found at {self.words(addresses)}" if addresses else "This server has no address yet."
        items = [
            ("", self.say("Go back")),
            ("web", self.say("Restart the web page")),
            ("engine", self.say("Restart the engine (machines go on)")),
            ("host", self.say("Restart dpe-host")),
        ]
        name = tui.choose(self.screen, "Rescue", f"{self.say(about)} {self.say(where)}", items)
        if name:
            self.ask(system.RESTART_UNIT, system.Which.model_validate({"name": name}))
            self.tell("Rescue", "It is being restarted. That takes about ten seconds.")

    def words(self, addresses: list[str]) -> str:
        return f" {self.say('or')} ".join(addresses)

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
            self.tell("Restart", "The server restarts now.")

    def off(self) -> None:
        about = f"{self.in_use()} Nobody can use them until somebody switches the server on again."
        if self.sure("Shut down", about, "Yes, shut the server down"):
            self.ask(system.POWER_OFF, Nothing())
            self.tell("Shut down", "The server shuts down now.")

    def reset(self) -> None:
        about = f"{self.in_use()} Everything goes: accounts, machines, people's data, backups on this server, settings. The server then restarts, and is as it came."
        ways = [
            ("", self.say("No, go back")),
            ("quick", self.say("Erase, takes a minute")),
            ("thorough", self.say("Erase and overwrite the disk, takes hours: for a server that is given away")),
        ]
        if not (way := tui.choose(self.screen, "Factory reset", about, ways)):
            return

        def begin(values: dict[str, str]) -> None:
            if values["word"] != ERASE:
                raise BadInput(f"Type {ERASE}, in capital letters, or press Esc to keep everything.")
            self.ask(disks.RESET, disks.Reset(thorough=way == "thorough"))

        if tui.ask(self.screen, "Factory reset", f"{about} It cannot be undone.", [Field("word", f"Type {ERASE}")], begin):
            self.tell("Factory reset", "The server restarts now and erases everything.")

    def network(self) -> None:
        title, now = "Address and network", self.ask(network.GET, Nothing())
        if not now.ours:
            self.tell(
                title,
                "This appliance runs on a Debian of your own, which takes care of the network.",
                *([f"It is found at {self.words(self.console.addresses)}"] if self.console.addresses else []),
            )
            return
        if (trial := now.trial) and trial.state == "on":
            about = f"{trial.by} is trying other network settings on the web page. Unless they are confirmed there, the old ones are back in {int(trial.left)} seconds."
            choices = [("", self.say("Go back")), ("keep", self.say("Keep the new ones")), ("back", self.say("Take them back now"))]
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
        fields = network_fields(now, self.say)

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
            self.tell(
                title,
                f"Done. The appliance is found at {self.words(self.console.addresses)}"
                if self.console.addresses
                else "Done. There is no address yet: it may take half a minute to come.",
            )

    def shell(self) -> None:
        if not self.ask(system.FACTS, Nothing()).shell:
            self.tell(
                "Shell",
                "The appliance needs no shell. An admin who wants one all the same allows it on the web page: Server, Console shell.",
            )
            return
        from appliance import run

        with self.screen.away():
            about = self.say("A shell of root. What is changed here may break the appliance. Ctrl-D ends it.")
            print(f"\n{about}\n", flush=True)
            run.interactive(["/bin/bash", "--login"])
            with contextlib.suppress(OSError):
                os.tcsetpgrp(0, os.getpgrp())


def network_fields(now: network.State, say: Callable[[str], str]) -> list[Field]:
    """The form for the network, filled in with what is used now."""
    used, cards = now.network, now.cards
    plugged = {True: say("cable is in"), False: say("no cable")}
    names = {card.name: f"{card.name}, {plugged[card.connected]}" for card in cards}
    card = next((one.name for one in cards if used.card in (one.name, one.mac)), "")
    best = card or next((one.name for one in cards if one.connected), cards[0].name)
    present = next((text for one in cards if one.name == best for text in one.addresses if ":" not in text), "")
    address, _, prefix = (used.address or present).partition("/")

    def fixed(values: dict[str, str]) -> bool:
        return values["mode"] == "static"

    return [
        Field("mode", "Address", used.mode, choices=[("dhcp", say("by DHCP, from your router")), ("static", say("fixed, given here"))]),
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
    screen.say = console.say
    menu = Menu(screen, console)
    while True:
        screen.draw(front(console), ["Enter: menu", "F2: address and network", "F3: status", f"F4: {LANGUAGES[console.other]}"])
        key = screen.key()
        with contextlib.suppress(tui.Left):
            if key in ("enter", " ", "f1"):
                menu.do("Menu", menu.open)
            elif key == "f2":
                menu.do("Address and network", menu.network)
            elif key == "f3":
                menu.do("Status", menu.status)
            elif key == "f4":
                menu.switch()


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
