"""One picture of a screen: of one that speaks RFB, and of whatever else a machine may say."""

import socket
import struct
import threading
import zlib

import pytest

from appliance import framebuffer

pytestmark = pytest.mark.console
BEGIN = b"RFB 003.008\n\1\1" + bytes(4)


def picture(said: bytes, within: float = 5.0) -> bytes:
    """What is made of a screen that says this, whatever it is asked."""
    here, there = socket.socketpair()
    with here, there:
        speaking = threading.Thread(target=lambda: (there.sendall(said), there.shutdown(socket.SHUT_WR)))
        speaking.start()
        try:
            return framebuffer.take(here, within)
        finally:
            here.close()
            speaking.join()


def begin(width: int, height: int, name: bytes = b"name") -> bytes:
    return BEGIN + struct.pack(">HH16xI", width, height, len(name)) + name


def update(*rectangles: tuple[int, int, int, int, bytes]) -> bytes:
    """Raw rectangles, each of one colour."""
    drawn = (struct.pack(">HHHHi", x, y, wide, high, 0) + colour * (wide * high) for x, y, wide, high, colour in rectangles)
    return struct.pack(">BxH", 0, len(rectangles)) + b"".join(drawn)


def pixels(png: bytes) -> tuple[int, int, bytes]:
    """Width, height, and its rows of three bytes a pixel."""
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = struct.unpack(">II", png[16:24])
    length = struct.unpack(">I", png[33:37])[0]
    rows = zlib.decompress(png[41 : 41 + length])
    return width, height, b"".join(rows[y * (1 + 3 * width) :][1 : 1 + 3 * width] for y in range(height))


RED, BLUE = bytes([250, 0, 10, 0]), bytes([0, 10, 250, 0])


def test_it_is_small_and_has_the_colours_of_the_screen() -> None:
    said = begin(1280, 800) + b"\2" + b"\3\0\0\0\0\0\0\2hi" + update((0, 0, 640, 800, RED)) + update((640, 0, 640, 800, BLUE))
    width, height, rows = pixels(picture(said))
    assert (width, height) == (320, 200)
    assert rows == (bytes([250, 0, 10]) * 160 + bytes([0, 10, 250]) * 160) * 200


@pytest.mark.parametrize(("of", "becomes"), [((64, 48), (64, 48)), ((720, 400), (240, 133)), ((321, 7), (160, 3)), ((1, 1), (1, 1))])
def test_a_screen_of_any_size_is_drawn(of: tuple[int, int], becomes: tuple[int, int]) -> None:
    width, height, rows = pixels(picture(begin(*of) + update((0, 0, *of, RED))))
    assert (width, height) == becomes
    assert rows == bytes([250, 0, 10]) * (width * height)


@pytest.mark.hostile
@pytest.mark.parametrize(
    "said",
    [
        b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"RFB 003.008\n\1\2", b"RFB 003.008\n\0\0\0\0\4full", BEGIN[:-1] + b"\1",
        begin(0, 800), begin(60000, 60000), begin(64, 48, b"n" * 70_000), begin(64, 48) + b"\3\0\0\0\xff\xff\xff\xff",
        begin(64, 48) + b"\1", begin(64, 48) + update((60, 0, 10, 48, RED)), begin(64, 48) + struct.pack(">BxHHHHHi", 0, 1, 0, 0, 64, 48, 7),
        begin(64, 48) + update((0, 0, 64, 47, RED)),
    ],
    ids=lambda said: repr(said[12:40]),
)  # fmt: skip
def test_whatever_is_no_picture_is_none(said: bytes) -> None:
    with pytest.raises(framebuffer.NoPicture):
        picture(said)


@pytest.mark.hostile
def test_one_that_says_little_for_long_is_given_up() -> None:
    here, there = socket.socketpair()
    with here, there, pytest.raises(framebuffer.NoPicture):
        there.sendall(b"RFB 003.008\n")
        framebuffer.take(here, 0.05)
