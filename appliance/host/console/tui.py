"""Text on a terminal, by curses: whole screens, and the few questions that a menu asks.

Everything that is shown is a list of `Line`s, so that what says something knows nothing of curses. The terminal may be the server's own
screen or a serial line; what has not changed is not sent again.
"""

import contextlib
import curses
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

KEYS = {
    curses.KEY_UP: "up",
    curses.KEY_DOWN: "down",
    curses.KEY_LEFT: "left",
    curses.KEY_RIGHT: "right",
    curses.KEY_PPAGE: "page up",
    curses.KEY_NPAGE: "page down",
    curses.KEY_HOME: "home",
    curses.KEY_END: "end",
    curses.KEY_FIND: "home",  # as a VT220 calls them
    curses.KEY_SELECT: "end",
    curses.KEY_BTAB: "up",
    curses.KEY_ENTER: "enter",
    curses.KEY_BACKSPACE: "backspace",
    curses.KEY_DC: "delete",
    curses.KEY_F1: "f1",
    curses.KEY_F2: "f2",
    curses.KEY_F3: "f3",
    curses.KEY_F4: "f4",
    10: "enter",
    13: "enter",
    9: "tab",
    8: "backspace",
    127: "backspace",
    12: "redraw",
}
ESCAPE = 27
# What follows an escape on terminals that are not quite what they are called: after "[" or "O", up to the first letter or "~".
SEQUENCES = {
    "A": "up", "B": "down", "C": "right", "D": "left", "H": "home", "F": "end", "1~": "home", "4~": "end", "5~": "page up",
    "6~": "page down", "Z": "up", "P": "f1", "Q": "f2", "R": "f3", "S": "f4", "[A": "f1", "[B": "f2", "[C": "f3", "[D": "f4",
    "11~": "f1", "12~": "f2", "13~": "f3", "14~": "f4",
}  # fmt: skip
SEQUENCE = 100  # milliseconds for the rest of one to come
# What the font of a server's own screen has not, and what stands for it.
PLAIN = str.maketrans({"“": '"', "”": '"', "„": '"', "’": "'", "‘": "'", "–": "-", "…": "..."})
TICK = 500  # milliseconds between two looks at whether something else has changed
IDLE = 600.0  # seconds without a key after which a dialogue is left
LOST = 20  # looks in a row that return at once with nothing: nobody is at the other end any more


class Left(Exception):
    """Nobody has pressed a key for long: back to the first screen."""


class Gone(Exception):
    """The terminal is no longer there."""


@dataclass(frozen=True)
class MenuLine:
    """One line: `look` is "", bold, bar (across the screen), chosen, warn, or blocks, whose "#" become solid."""

    text: str = ""
    look: str = ""


@dataclass
class Field:
    """Something to be typed; `choices` are gone through with the space bar and the arrows instead. `hidden` for as long as the others say so."""

    name: str
    label: str
    value: str = ""
    help: str = ""
    choices: Sequence[tuple[str, str]] = ()
    shown: Callable[[dict[str, str]], bool] = lambda values: True
    error: str = ""


Lines = Sequence[MenuLine | str]


class Terminal:
    """A curses window with a title above and keys that work below."""

    def __init__(self, window: "curses.window") -> None:
        self.window = window
        self.title = ""
        self.say: Callable[[str], str] = str  # what is said in English in the language that is spoken here
        self._misses = 0
        curses.raw()  # Ctrl-C, Ctrl-Z and Ctrl-\ are keys like others, which do nothing
        with contextlib.suppress(curses.error):
            curses.curs_set(0)
        window.keypad(True)
        window.timeout(TICK)
        self.looks = {"bold": curses.A_BOLD, "bar": curses.A_REVERSE, "chosen": curses.A_REVERSE, "warn": curses.A_BOLD}
        with contextlib.suppress(curses.error):
            curses.use_default_colors()
            curses.init_pair(1, curses.COLOR_YELLOW, -1)
            self.looks["warn"] = curses.A_BOLD | curses.color_pair(1)

    @property
    def width(self) -> int:
        return int(self.window.getmaxyx()[1])

    @property
    def height(self) -> int:
        return int(self.window.getmaxyx()[0])

    def draw(self, lines: Lines, keys: Sequence[str], *, cursor: tuple[int, int] | None = None) -> None:
        """Show these lines from the top and what `keys` do in the last line; what does not fit is cut off. The cursor is at row, column."""
        self.window.erase()
        rows = [line if isinstance(line, MenuLine) else MenuLine(line) for line in lines][: self.height - 1]
        for row, line in enumerate(rows):
            self._put(row, line)
        self._put(self.height - 1, MenuLine(f" {'   '.join(map(self.say, keys))}", "bar"))
        with contextlib.suppress(curses.error):
            curses.curs_set(0 if cursor is None else 1)
        with contextlib.suppress(curses.error):
            self.window.move(*(cursor or (self.height - 1, self.width - 1)))
        self.window.refresh()

    def _put(self, row: int, line: MenuLine) -> None:
        width = self.width - (row == self.height - 1)  # the last cell cannot be written without scrolling
        text = "".join(letter if letter.isprintable() else "?" for letter in line.text.translate(PLAIN))[:width]
        with contextlib.suppress(curses.error):
            if line.look == "blocks":
                for column, letter in enumerate(text):
                    self.window.addstr(row, column, " ", curses.A_REVERSE if letter == "#" else 0)
            else:
                self.window.addstr(row, 0, text.ljust(width) if line.look == "bar" else text, self.looks.get(line.look, 0))

    def key(self) -> str:
        """The key pressed: its name, or the character; empty when there was none for a moment. Raises Gone."""
        began = time.monotonic()
        try:
            code = self.window.getch()
        except KeyboardInterrupt:  # from elsewhere: nothing of ours sends it
            return ""
        if code == -1:
            # A line that was hung up does not wait: it says at once that nothing is there, for ever.
            self._misses = self._misses + 1 if time.monotonic() - began < TICK / 2000 else 0
            if self._misses > LOST:
                raise Gone
            return ""
        self._misses = 0
        if code == curses.KEY_RESIZE:
            curses.update_lines_cols()
            return ""
        if code == ESCAPE:
            return self._sequence()
        name = KEYS.get(code, chr(code) if 32 <= code < 127 else "")
        if name == "redraw":
            self.window.clearok(True)
        return name

    def _sequence(self) -> str:
        self.window.timeout(SEQUENCE)
        said = ""
        while (code := self.window.getch()) != -1:
            said += chr(code & 127)
            if said[0] not in "[O":  # the key itself, and another one
                curses.ungetch(code)
                said = ""
                break
            if len(said) > 6 or (len(said) > 1 and said[-1] not in "[;0123456789"):
                break
        self.window.timeout(TICK)
        return SEQUENCES.get(said[1:], "") if said else "escape"

    def wait(self) -> str:
        """The next key that means anything, or empty when the screen is to be drawn again. Raises Left after a long time without one."""
        until = time.monotonic() + IDLE
        size = (self.height, self.width)
        while time.monotonic() < until:
            if key := self.key():
                return key
            if size != (self.height, self.width):
                return ""
        raise Left

    @contextlib.contextmanager
    def away(self) -> Iterator[None]:
        """The terminal is somebody else's meanwhile."""
        curses.def_prog_mode()
        curses.endwin()
        try:
            yield
        finally:
            curses.reset_prog_mode()
            self.window.clear()
            self.window.refresh()


def wrapped(text: str, width: int, indent: str = "  ") -> list[str]:
    """A paragraph as lines; a word that is too long is cut."""
    import textwrap  # which few screens need

    return textwrap.wrap(text, max(20, width - len(indent) - 1), initial_indent=indent, subsequent_indent=indent) or [""]


def _head(terminal: Terminal, title: str, where: str = "") -> list[MenuLine | str]:
    return [MenuLine(f" {terminal.say(title)}{where}", "bar"), ""]


def choose(terminal: Terminal, title: str, text: str, items: Sequence[tuple[str, str]], at: str = "") -> str:
    """The name of the item that is chosen of (name, label); empty when none is. Labels are shown as they are."""
    chosen = next((number for number, (name, _) in enumerate(items) if name == at), 0)
    while True:
        above = _head(terminal, title) + ([*wrapped(terminal.say(text), terminal.width), ""] if text else [])
        room = max(1, terminal.height - len(above) - 2)
        first = max(0, min(chosen - room // 2, len(items) - room))
        rows = [
            MenuLine(f"  {number + 1:>2}  {label}  ", "chosen" if number == chosen else "")
            for number, (_, label) in list(enumerate(items))[first : first + room]
        ]
        terminal.draw([*above, *rows], ["Up, Down: move", "Enter: choose", "Esc: back"])
        key = terminal.wait()
        if key in ("up", "down", "tab"):
            chosen = (chosen + (-1 if key == "up" else 1)) % len(items)
        elif key in ("home", "end"):
            chosen = 0 if key == "home" else len(items) - 1
        elif key in ("page up", "page down"):
            chosen = max(0, min(len(items) - 1, chosen + (room if key == "page down" else -room)))
        elif key.isdigit() and 0 < int(key) <= min(9, len(items)):
            return items[int(key) - 1][0]
        elif key == "enter":
            return items[chosen][0]
        elif key in ("escape", "left"):
            return ""


def show_message(terminal: Terminal, title: str, lines: Lines, *, end: bool = False) -> None:
    """Show something, as it is, that may be longer than the screen, from its end on if wanted, until a key leaves it."""
    at, drawn_for = 0, 0
    while True:
        rows: list[MenuLine | str] = []
        for line in lines:
            text, look = (line.text, line.look) if isinstance(line, MenuLine) else (line, "")
            rows += (
                [MenuLine(part, look) for part in wrapped(text, terminal.width)] if len(text) > terminal.width else [MenuLine(text, look)]
            )
        room = terminal.height - 3
        last = max(0, len(rows) - room)
        if end and drawn_for != room:
            at = last
        at, drawn_for = max(0, min(at, last)), room
        more = ["Up, Down, Page: more"] if last else []
        where = f"   ({at + 1}-{min(at + room, len(rows))} / {len(rows)})" if last else ""
        terminal.draw([*_head(terminal, title, where), *rows[at : at + room]], [*more, "Enter, Esc: back"])
        key = terminal.wait()
        if key in ("enter", "escape", "left", "q"):
            return
        at += {"up": -1, "down": 1, "page up": -room, "page down": room, " ": room, "home": -len(rows), "end": len(rows)}.get(key, 0)


@dataclass
class _Form:
    """Fields to be filled in, and where one is among those that are shown."""

    terminal: Terminal
    title: str
    text: str
    fields: Sequence[Field]
    at: int = 0
    problem: str = ""

    def values(self) -> dict[str, str]:
        return {one.name: one.value for one in self.fields}

    def visible(self) -> list[Field]:
        values = self.values()
        return [one for one in self.fields if one.shown(values)]

    def draw(self) -> None:
        visible, wide = self.visible(), max(len(self.terminal.say(one.label)) for one in self.fields) + 2
        rows: list[MenuLine | str] = [
            *_head(self.terminal, self.title),
            *(wrapped(self.terminal.say(self.text), self.terminal.width) if self.text else []),
            "",
        ]
        cursor = None
        for number, one in enumerate(visible):
            if number == self.at and not one.choices:
                cursor = (len(rows), 4 + wide + len(one.value) + 1)
            rows += self._rows(one, wide, here=number == self.at)
        if self.problem:
            rows += ["", *(MenuLine(part, "warn") for part in wrapped(self.terminal.say(self.problem), self.terminal.width))]
        change = ["Left, Right: change"] if visible[self.at].choices else []
        enter = "Enter: next" if self.at < len(visible) - 1 else "Enter: done"
        self.terminal.draw(rows, [*change, "Up, Down: move", enter, "Esc: give up"], cursor=cursor)

    def _rows(self, one: Field, wide: int, *, here: bool) -> list[MenuLine | str]:
        shown = next((label for name, label in one.choices if name == one.value), one.value)
        opens, closes = "<>" if one.choices else "[]"
        row = MenuLine(
            f"  {'>' if here else ' '} {self.terminal.say(one.label):<{wide}}{opens} {shown:<28}{closes}", "bold" if here else ""
        )
        if one.error:
            return [row, *(MenuLine(part, "warn") for part in wrapped(self.terminal.say(one.error), self.terminal.width, " " * (wide + 6)))]
        return [row, *(wrapped(self.terminal.say(one.help), self.terminal.width, " " * (wide + 6)) if here and one.help else [])]

    def move(self, step: int) -> None:
        self.at = (self.at + step) % len(self.visible())

    def is_taken(self, check: Callable[[dict[str, str]], None], values: dict[str, str]) -> bool:
        """Whether `check` takes it; else the problem is kept, and one is at the first field that is wrong."""
        from appliance.errors import DpeError

        self.problem, visible = "", self.visible()
        for one in self.fields:
            one.error = ""
        try:
            check(values)
        except DpeError as error:
            self.problem = str(error)
        wrong = next((number for number, one in enumerate(visible) if one.error), None)
        self.at = self.at if wrong is None else wrong
        return wrong is None and not self.problem


def _edit(one: Field, key: str) -> None:
    """What a key does to the field where one is."""
    if one.choices and key in ("left", "right", " "):
        names = [name for name, _ in one.choices]
        one.value = names[(names.index(one.value) + (-1 if key == "left" else 1)) % len(names)]
    elif not one.choices and key == "backspace":
        one.value = one.value[:-1]
    elif not one.choices and len(key) == 1 and len(one.value) < 64:
        one.value += key


def ask(
    terminal: Terminal, title: str, text: str, fields: Sequence[Field], check: Callable[[dict[str, str]], None]
) -> dict[str, str] | None:
    """What was typed, once `check` has taken it; it sets `error` of a field that is wrong, or raises DpeError. None when it was given up."""
    form = _Form(terminal, title, text, fields)
    while True:
        form.at = min(form.at, len(form.visible()) - 1)
        form.draw()
        key = terminal.wait()
        if key == "escape":
            return None
        if key in ("up", "down", "tab"):
            form.move(-1 if key == "up" else 1)
        elif key == "enter" and form.at < len(form.visible()) - 1:
            form.move(1)
        elif key == "enter":
            values = form.values()
            if form.is_taken(check, values):
                return values
        else:
            _edit(form.visible()[form.at], key)


@dataclass
class _Result:
    value: Any = None
    error: BaseException | None = None
    done: threading.Event = field(default_factory=threading.Event)


def working(terminal: Terminal, title: str, text: str, do: Callable[[], Any]) -> Any:
    """Do something that may take a while; returns what it returns, raises what it raises. The screen says meanwhile that it goes on."""
    result = _Result()

    def run() -> None:
        try:
            result.value = do()
        except BaseException as error:
            result.error = error
        result.done.set()

    threading.Thread(target=run, daemon=True).start()
    if not result.done.wait(0.3):
        terminal.draw([*_head(terminal, title), *wrapped(terminal.say(text), terminal.width)], ["One moment"])
        while not result.done.wait(0.1):
            terminal.key()
    if result.error is not None:
        raise result.error
    return result.value


def opened(show: Callable[[Terminal], None]) -> None:
    """Run `show` on this process's terminal, which is put back afterwards."""
    try:
        curses.setupterm()
    except curses.error:  # a name that nobody here knows: what every terminal of the last forty years understands
        os.environ["TERM"] = "vt100"
    curses.set_escdelay(SEQUENCE)
    for name in ("LINES", "COLUMNS"):  # which curses would believe, whatever size the terminal gets
        os.environ.pop(name, None)
    window = curses.initscr()
    try:
        curses.noecho()
        with contextlib.suppress(curses.error):
            curses.start_color()
        show(Terminal(window))
    finally:
        with contextlib.suppress(curses.error):  # where it is gone, there is nothing to put back
            curses.endwin()
