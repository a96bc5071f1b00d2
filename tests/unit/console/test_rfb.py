"""What of a watching browser's messages a machine hears."""

import random
import struct

import pytest

from appliance.console.rfb import Refused, Watcher

pytestmark = pytest.mark.console

HELLO = b"RFB 003.008\n\1\0"  # version, security type None, and: throw the others out
FORMAT = b"\0" + bytes(19)
ENCODINGS = b"\2\0" + struct.pack(">H3i", 3, 0, 7, -308)
REQUEST = b"\3\1" + struct.pack(">4H", 0, 0, 800, 600)
UPDATES = b"\x96\1" + bytes(8)
FENCE = b"\xf8\0\0\0" + struct.pack(">I", 1) + b"\4abcd"
PASSES = {"format": FORMAT, "encodings": ENCODINGS, "none": b"\2\0\0\0", "request": REQUEST, "updates": UPDATES, "fence": FENCE}
LEFT_OUT = {
    "key": b"\4\1\0\0" + struct.pack(">I", 0x61),
    "pointer": b"\5\1" + struct.pack(">2H", 3, 4),
    "buttons": b"\5\x81" + struct.pack(">2H", 3, 4) + b"\1",
    "clipboard": b"\6\0\0\0" + struct.pack(">i", 5) + b"hello",
    "extended clipboard": b"\6\0\0\0" + struct.pack(">i", -6) + b"\4\0\0\1\1\2",
    "reboot": b"\xfa\0\1\3",
    "resize": b"\xfb\0" + struct.pack(">2HBx", 800, 600, 1) + bytes(16),
    "extended key": b"\xff\0" + struct.pack(">HII", 1, 0x61, 30),
    "sound on": b"\xff\1\0\0",
    "sound format": b"\xff\1\0\2" + struct.pack(">BBI", 1, 2, 44100),
}


@pytest.mark.parametrize("name", PASSES)
def test_what_shows_a_picture_passes(name: str) -> None:
    assert Watcher().feed(HELLO + PASSES[name]) == b"RFB 003.008\n\1\1" + PASSES[name]


@pytest.mark.parametrize("name", LEFT_OUT)
def test_what_does_something_is_left_out(name: str) -> None:
    assert Watcher().feed(HELLO + LEFT_OUT[name] + REQUEST) == b"RFB 003.008\n\1\1" + REQUEST


def test_it_is_the_same_however_it_comes_in_pieces() -> None:
    """And nothing of a message that is left out passes because it came in two."""
    order = random.Random(18)
    said = [*PASSES.values(), *LEFT_OUT.values()] * 8
    order.shuffle(said)
    wanted = b"RFB 003.008\n\1\1" + b"".join(one for one in said if one in PASSES.values())
    data = HELLO + b"".join(said)
    for most in (1, 2, 7, 40):
        watcher, out, rest = Watcher(), b"", data
        while rest:
            length = order.randint(1, most)
            out += watcher.feed(rest[:length])
            rest = rest[length:]
        assert out == wanted


def test_a_clipboard_of_any_length_is_not_kept() -> None:
    watcher = Watcher()
    watcher.feed(HELLO + b"\6\0\0\0" + struct.pack(">i", 1 << 30))
    for _ in range(100):
        assert watcher.feed(bytes(1 << 16)) == b""
    assert len(watcher._raw) < 1 << 17


def test_older_servers_choose_by_themselves() -> None:
    assert Watcher().feed(b"RFB 003.003\n\0" + REQUEST) == b"RFB 003.003\n\1" + REQUEST


@pytest.mark.hostile
@pytest.mark.parametrize(
    "said", [b"GET / HTTP/1.1\r\n", b"RFB 004.000\n\1\0", b"RFB 003.008\n\2", HELLO + b"\7", HELLO + b"\xfe", HELLO + b"\1"]
)
def test_what_is_not_understood_ends_it(said: bytes) -> None:
    with pytest.raises(Refused):
        Watcher().feed(said)
