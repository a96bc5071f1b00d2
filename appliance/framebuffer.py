"""One small picture of a screen that speaks RFB (RFC 6143): QEMU's, or one that a machine serves.

A machine may send whatever it likes, so all that it says is bounded: in time, in bytes and in pixels.
"""

import socket
import struct
import time
import zlib
from collections.abc import Iterator

WIDTH = 320  # pixels that a picture is wide at most
LARGEST = 4096  # pixels that a screen may be wide or high
LONGEST = 1 << 16  # bytes of a name, or of a text in its clipboard
RGBX = struct.pack(">BBBBHHHBBB3x", 32, 24, 0, 1, 255, 255, 255, 0, 8, 16)  # a pixel: red, green, blue and a byte of nothing
RAW = 0  # the encoding that every server has


class NoPicture(Exception):
    """The screen says nothing, or what is no RFB without a password."""


class _Screen:
    """An RFB connection, as far as a single picture needs one."""

    def __init__(self, connected: socket.socket, until: float) -> None:
        self._socket, self._until = connected, until

    def send(self, data: bytes) -> None:
        self._in_time()
        self._socket.sendall(data)

    def read(self, length: int) -> bytes:
        return bytes(self.read_into(bytearray(length)))

    def read_into(self, room: bytearray) -> bytearray:
        view = memoryview(room)
        while view:
            self._in_time()
            if not (count := self._socket.recv_into(view)):
                raise NoPicture("it ended")
            view = view[count:]
        return room

    def unpack(self, form: str) -> tuple[int, ...]:
        return struct.unpack(f">{form}", self.read(struct.calcsize(f">{form}")))

    def skip(self, length: int) -> None:
        if length > LONGEST:
            raise NoPicture("it says too much")
        self.read(length)

    def _in_time(self) -> None:
        if (left := self._until - time.monotonic()) <= 0:
            raise NoPicture("it takes too long")
        self._socket.settimeout(left)


def take(connected: socket.socket, within: float, most: int = WIDTH) -> bytes:
    """A PNG of what the screen at the other end shows, so many pixels wide at most, within so many seconds. Others there notice nothing. Raises NoPicture."""
    screen = _Screen(connected, time.monotonic() + within)
    try:
        width, height = _begin(screen)
        pixels = _frame(screen, width, height)
    except (OSError, struct.error) as error:
        raise NoPicture(str(error)) from error
    return _png(*_shrunk(pixels, width, height, most))


def _begin(screen: _Screen) -> tuple[int, int]:
    """Its width and height."""
    if not screen.read(12).startswith(b"RFB 003."):
        raise NoPicture("it is no RFB")
    screen.send(b"RFB 003.008\n")
    (kinds,) = screen.unpack("B")
    if 1 not in screen.read(kinds):  # none at all: a reason follows, which is nothing to us
        raise NoPicture("it asks for a password")
    screen.send(b"\1")
    if screen.unpack("I") != (0,):
        raise NoPicture("it lets nobody in")
    screen.send(b"\1")  # nobody is thrown out for it
    width, height, length = screen.unpack("HH16xI")
    screen.skip(length)
    if not (0 < width <= LARGEST and 0 < height <= LARGEST):
        raise NoPicture(f"it is {width} by {height} pixels")
    return width, height


def _frame(screen: _Screen, width: int, height: int) -> bytearray:
    """All its pixels, four bytes each."""
    screen.send(b"\0\0\0\0" + RGBX + struct.pack(">BxHi", 2, 1, RAW) + struct.pack(">BBHHHH", 3, 0, 0, 0, width, height))
    pixels, covered = bytearray(4 * width * height), 0
    while covered < width * height:
        (kind,) = screen.unpack("B")
        if kind == 0:
            (count,) = screen.unpack("xH")
            covered += sum(_rectangle(screen, pixels, width, height) for _ in range(count))
        elif kind == 3:  # somebody copied text
            screen.skip(*screen.unpack("3xI"))
        elif kind != 2:  # a bell
            raise NoPicture("what it says is not known")
    return pixels


def _rectangle(screen: _Screen, pixels: bytearray, width: int, height: int) -> int:
    """How many pixels it was."""
    x, y, wide, high, encoding = screen.unpack("HHHHi")
    if encoding != RAW or x + wide > width or y + high > height:
        raise NoPicture("what it draws is not known")
    for row in range(y, y + high):
        start = 4 * (row * width + x)
        pixels[start : start + 4 * wide] = screen.read(4 * wide)
    return wide * high


def _shrunk(pixels: bytearray, width: int, height: int, most: int) -> tuple[list[bytes], int]:
    """Rows of three bytes a pixel, each the mean of four points of what it stands for, and how many pixels a row has."""
    step = -(-width // most)
    wide, high, far = width // step, height // step, step // 2

    def rows() -> Iterator[bytes]:
        for y in range(high):
            row = bytearray(3 * wide)
            lines = [memoryview(pixels)[4 * width * at :][: 4 * width] for at in (y * step, y * step + far)]
            for colour in range(3):
                points = [line[4 * shift + colour :: 4 * step] for line in lines for shift in (0, far)]
                row[colour::3] = bytes((a + b + c + d) >> 2 for a, b, c, d in zip(*points, strict=False))[:wide]
            yield bytes(row)

    return list(rows()), wide


def _png(rows: list[bytes], width: int) -> bytes:
    """An image of the simplest kind (ISO/IEC 15948): eight bits a colour, no filters."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, len(rows), 8, 2, 0, 0, 0)
    body = zlib.compress(b"".join(b"\0" + row for row in rows))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", body) + chunk(b"IEND", b"")
