"""What the screen at the server knows of the appliance, and says of it by itself: the first screen, and its state.

It speaks the appliance's language, or the one that somebody chose at this screen.
"""

import logging
import threading
import time

from appliance import language
from appliance.errors import DpeError, Unavailable
from appliance.host.console import tui
from appliance.host.console.tui import MenuLine
from appliance.host.interface import system
from appliance.host.interface.system import Facts
from appliance.host.rpc.client import Client
from appliance.host.rpc.verb import A, Nothing, R, Verb
from appliance.settings import Settings

log = logging.getLogger(__name__)

BY = "the server's screen"
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
        self.chosen = ""  # the language that somebody chose here
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
    def language(self) -> str:
        """The one that is spoken here."""
        spoken = self.chosen or (self.facts.language if self.facts else language.SOURCE)
        return spoken if spoken in language.LANGUAGES else language.SOURCE

    @property
    def other(self) -> str:
        """The next one of those that there are."""
        known = list(language.LANGUAGES)
        return known[(known.index(self.language) + 1) % len(known)]

    def say(self, english: str) -> str:
        """What is said in English, in the language that is spoken here."""
        try:
            return language.catalog(self.language).sentence(english)
        except Exception:  # a screen in English is better than none
            log.exception("what is said in the language %s cannot be read", self.language)
            return english

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
    facts, say = console.facts, console.say
    beside = {1: "DPE Appliance"}
    if facts:
        beside = {1: f"DPE Appliance {facts.version}".rstrip(), 2: facts.title, 3: facts.host_name}
    lines: list[MenuLine | str] = [MenuLine(f"{row:<24}{beside.get(number, '')}", "bold") for number, row in enumerate(LOGO)]
    lines.append("")
    if not facts:
        return [*lines, f"  {say('Starting: one moment.')}"]
    lines += _where(console, facts)
    if facts.set_up is False and console.code:
        return [
            *lines,
            MenuLine(f"  {say('Setup code')}: {console.code}", "bold"),
            "",
            *large(console.code),
            "",
            *_problems(console, facts),
        ]
    return [*lines, *_state(console, facts), "", *_problems(console, facts)]


def _where(console: Console, facts: Facts) -> list[MenuLine | str]:
    addresses, say = console.addresses, console.say
    if not addresses:
        return [f"  {say('No address yet: is the network cable in? F2 sets one by hand.')}", ""]
    said: list[MenuLine | str] = [f"  {say('Open in the browser of another computer:')}"]
    said += [MenuLine(f"    {one}", "bold") for one in addresses[:2]]
    if len(addresses) > 2:
        said[-1] = MenuLine(f"    {addresses[1]}   {say(f'and {len(addresses) - 2} more, see Status')}", "bold")
    if prints := facts.fingerprint:
        half = len(prints) // 2 + 1
        said += [f"  {say('Its certificate has the SHA-256 fingerprint')}", f"    {prints[:half]}", f"    {prints[half:]}"]
    return [*said, ""]


def _state(console: Console, facts: Facts) -> list[MenuLine | str]:
    said: list[MenuLine | str] = []
    say = console.say
    if machines := facts.machines:
        parts = [say(f"{machines.in_use} in use, {machines.ready} ready")]
        parts += [say(f"{machines.coming} being made")] if machines.coming else []
        parts += [say(f"{machines.troubled} with a problem")] if machines.troubled else []
        said.append(_row(say("Machines"), ", ".join(parts)))
    if storage := facts.storage:
        free, total = size(storage.free, console.language), size(storage.total, console.language)
        said.append(_row(say("Storage"), say(f"{free} of {total} are free")))
    return said


def _row(label: str, value: str) -> str:
    return f"  {label:<10} {value}"


def _problems(console: Console, facts: Facts) -> list[MenuLine | str]:
    return [MenuLine(part, "warn") for problem in facts.problems for part in tui.wrapped(f"! {console.say(problem)}", 79)]


def size(mib: int, spoken: str) -> str:
    """MiB as people read it."""
    return f"{language.decimal(spoken, mib / 1024, 0 if mib >= 10240 else 1)} GiB" if mib >= 1024 else f"{mib} MiB"


def status(console: Console, parts: list[system.Part]) -> list[MenuLine | str]:
    """All that is known, as lines."""
    facts, say = console.facts, console.say
    if not facts:
        return [f"  {say('Starting: one moment.')}"]
    said: list[MenuLine | str] = [
        _row(say("Version"), facts.version or say("not an image")),
        _row(say("Host name"), facts.host_name),
        *(_row(say("Address"), one) for one in console.addresses or ["-"]),
        *_state(console, facts),
        "",
    ]
    for part in parts:
        memory = f"{part.memory} MiB" if part.memory else ""
        row = f"  {part.name:<10} {say(part.state):<9} {memory:>9}  {part.status}"
        said.append(MenuLine(row, "" if part.state == "running" else "warn"))
    return [*said, "", *(_problems(console, facts) or [f"  {say('No problems.')}"])]
