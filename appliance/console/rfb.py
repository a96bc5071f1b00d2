"""What a browser says to a screen, message by message, so that one who only watches cannot do anything.

RFB (RFC 6143) has client messages of lengths that their beginnings say; the numbers beyond it are those of the community's
list (github.com/rfbproto/rfbproto). What goes through is what a client needs to be shown a picture. All else is left out here, on
the way to the machine; a message that is not known ends the connection, as nobody knows where it ends.
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass

VERSION = 12  # bytes: "RFB 003.008\n"
NONE = 1  # security type
SHARED = b"\1"


class Refused(Exception):
    """What came is no message that somebody who watches may send."""


@dataclass(frozen=True)
class _Message:
    """How a message begins: so many bytes say how long it is; `passes`: a machine hears it."""

    head: int
    length: Callable[[bytes], int]
    passes: bool = False


def _fixed(length: int, *, passes: bool = False) -> _Message:
    return _Message(1, lambda _: length, passes)


def _qemu(head: bytes) -> int:
    """An extended key, or what belongs to sound."""
    if head[1] == 0:
        return 12
    operation = struct.unpack(">H", head[2:4])[0]
    return 10 if operation == 2 else 4


MESSAGES = {
    0: _fixed(20, passes=True),  # SetPixelFormat
    2: _Message(4, lambda head: 4 + 4 * struct.unpack(">H", head[2:4])[0], passes=True),  # SetEncodings
    3: _fixed(10, passes=True),  # FramebufferUpdateRequest
    4: _fixed(8),  # KeyEvent
    5: _Message(2, lambda head: 7 if head[1] & 0x80 else 6),  # PointerEvent; the longer one has buttons beyond the seventh
    6: _Message(8, lambda head: 8 + abs(struct.unpack(">i", head[4:8])[0])),  # ClientCutText, extended where the length is negative
    150: _fixed(10, passes=True),  # EnableContinuousUpdates
    248: _Message(9, lambda head: 9 + head[8], passes=True),  # ClientFence
    250: _fixed(4),  # xvp: shut down, reboot
    251: _Message(8, lambda head: 8 + 16 * head[6]),  # SetDesktopSize
    255: _Message(4, _qemu),
}


class Watcher:
    """The messages of one who watches: bytes in, those that may pass out."""

    def __init__(self) -> None:
        self._raw = b""
        self._skip = 0  # bytes of a message that is left out, however long it is
        self._steps = [self._version, self._security, self._init]

    def feed(self, data: bytes) -> bytes:
        """Raises Refused."""
        self._raw += data
        out = b""
        while self._raw:
            if self._skip:
                self._skip -= len(self._take(self._skip))
                continue
            before = len(self._raw)
            out += self._steps[0]() if self._steps else self._message()
            if not self._skip and len(self._raw) == before:
                break  # the rest is to come
        return out

    def _take(self, length: int) -> bytes:
        taken, self._raw = self._raw[:length], self._raw[length:]
        return taken

    def _version(self) -> bytes:
        if len(self._raw) < VERSION:
            return b""
        self._steps.pop(0)
        if not (version := self._take(VERSION)).startswith(b"RFB 003."):
            raise Refused
        if version < b"RFB 003.007\n":
            self._steps.pop(0)  # the server alone chooses
        return version

    def _security(self) -> bytes:
        self._steps.pop(0)
        if self._raw[0] != NONE:
            raise Refused  # what follows is not known, and may be anything
        return self._take(1)

    def _init(self) -> bytes:
        self._steps.pop(0)
        self._take(1)
        return SHARED  # whoever only watches throws nobody out

    def _message(self) -> bytes:
        if (kind := MESSAGES.get(self._raw[0])) is None:
            raise Refused
        if len(self._raw) < kind.head:
            return b""
        length = kind.length(self._raw[: kind.head])
        if not kind.passes:
            self._skip = length
            return b""
        return self._take(length) if len(self._raw) >= length else b""
