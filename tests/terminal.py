"""A terminal of our own, in which a real program runs, like the one at the server's screen: what it shows as text, and keys."""

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self

import pyte

from appliance.settings import Settings, environment

KEYS = {
    "enter": "\r", "escape": "\x1b", "tab": "\t", "up": "\x1b[A", "down": "\x1b[B", "right": "\x1b[C", "left": "\x1b[D",
    "page up": "\x1b[5~", "page down": "\x1b[6~", "home": "\x1b[1~", "end": "\x1b[4~", "backspace": "\x7f", "f2": "\x1bOQ", "f3": "\x1bOR", "f4": "\x1bOS",
}  # fmt: skip
PATIENCE = 30.0  # seconds for something to be shown


class Answering(pyte.Screen):
    """A screen that answers what a program asks of its terminal."""

    master = -1

    def write_process_input(self, data: str) -> None:
        os.write(self.master, data.encode())


class Terminal:
    """A command on a terminal of this size; `sent` counts the bytes that it sent."""

    ends_by = signal.SIGHUP  # as a terminal does it that is closed; shells pass over other signals
    shows_errors = True  # bash asks there, too

    def __init__(self, words: Sequence[str], env: Mapping[str, str], *, columns: int = 80, rows: int = 24, term: str = "xterm") -> None:
        self.screen = Answering(columns, rows)
        self.stream = pyte.ByteStream(self.screen)
        self.sent = 0
        self.master, slave = pty.openpty()
        self.screen.master = self.master
        self._size(columns, rows)
        self.process = subprocess.Popen(
            words, stdin=slave, stdout=slave, stderr=slave if self.shows_errors else subprocess.DEVNULL, start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0), env={**env, "TERM": term, "LC_ALL": "C.UTF-8"},
        )  # fmt: skip
        os.close(slave)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.process.send_signal(self.ends_by)
        self.process.wait(20)
        os.close(self.master)

    def _size(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def resize(self, columns: int, rows: int) -> None:
        self.screen.resize(rows, columns)
        self._size(columns, rows)
        self.process.send_signal(signal.SIGWINCH)

    def read(self, seconds: float = 0.05) -> bool:
        """Take what it says within the time; whether there was anything."""
        if not select.select([self.master], [], [], seconds)[0]:
            return False
        try:
            said = os.read(self.master, 65536)
        except OSError:  # it has ended
            return False
        self.sent += len(said)
        self.stream.feed(said)
        return True

    @property
    def rows(self) -> list[str]:
        """What is to be seen; solid cells are a block."""
        buffer, columns = self.screen.buffer, range(self.screen.columns)
        cells = [[buffer[row][column] for column in columns] for row in range(self.screen.lines)]
        return ["".join("█" if cell.reverse and cell.data == " " else cell.data for cell in row).rstrip() for row in cells]

    @property
    def text(self) -> str:
        return "\n".join(self.rows).rstrip() + "\n"

    def until(self, words: str, at: int | None = None) -> str:
        """Wait until these words are to be seen, in this line if one is given; returns the screen. Words of one line only."""
        deadline = time.monotonic() + PATIENCE

        def looked_at(shown: str) -> str:
            return shown if at is None else "".join(shown.splitlines()[at : at + 1])

        while words.replace(" ", "█") not in looked_at(shown := self.text).replace(" ", "█"):
            assert time.monotonic() < deadline, f"{words!r} does not come:\n{shown}"
            assert self.process.poll() is None, f"the program has ended:\n{shown}"
            self.read()
        while self.read():
            pass
        return self.text

    def press(self, *keys: str) -> None:
        """Keys by name, or text."""
        for key in keys:
            os.write(self.master, KEYS.get(key, key).encode())


class Screen(Terminal):
    """`python -m appliance.host.console.menu`."""

    ends_by = signal.SIGTERM
    shows_errors = False

    def __init__(self, settings: Settings, *, columns: int = 80, rows: int = 24, term: str = "vt220", patience: float = 60) -> None:
        super().__init__(
            [sys.executable, "-c", f"from appliance.host.console import first_screen, menu; first_screen.PATIENCE = {patience}; menu.main()"],
            # A shell of its own reads nobody's profile.
            {**os.environ, **environment(settings), "HOME": os.fspath(settings.state)},
            columns=columns, rows=rows, term=term,
        )  # fmt: skip
