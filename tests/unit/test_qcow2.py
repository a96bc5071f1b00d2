"""Images from outside: whatever their headers name, no other file of the host is opened."""

import struct
from pathlib import Path

import pytest

from appliance import qcow2
from appliance.errors import BadInput
from appliance.hypervisor.libvirt import disks
from appliance.hypervisor.provider import NoData

pytestmark = pytest.mark.hostile
SECRET = b"root:$6$secret:19000:0:99999:7:::\n"
CLUSTER = 1 << 16


def image(path: Path, size: int = 1 << 20, version: int = 3, features: int = 0, backing: bytes = b"", snapshots: int = 0, encryption: int = 0,
          bits: int = 16, extensions: bytes = b"", length: int = 4 * CLUSTER) -> Path:  # fmt: skip
    """A qcow2 image with an empty disk, and a header as one likes it."""
    more = struct.pack(">QQQII", features, 0, 0, 4, 104) if version == 3 else b""
    head_length = 72 + len(more)
    head = head_length + len(extensions) + 8
    fixed = (b"QFI\xfb", version, head if backing else 0, len(backing), bits, size, encryption, 1, 3 * CLUSTER, CLUSTER, 1, snapshots, 0)
    whole = struct.pack(">4sIQIIQIIQQIIQ", *fixed) + more + extensions + bytes(8) + backing
    body = bytearray(length)
    body[: len(whole)] = whole
    if length >= 4 * CLUSTER:
        body[CLUSTER : CLUSTER + 8] = (2 * CLUSTER).to_bytes(8, "big")  # the table of counts, whose one block counts these four clusters
        for cluster in range(4):
            body[2 * CLUSTER + 2 * cluster : 2 * CLUSTER + 2 * cluster + 2] = (1).to_bytes(2, "big")
    path.write_bytes(body)
    return path


def extension(kind: int, data: bytes) -> bytes:
    return struct.pack(">II", kind, len(data)) + data + bytes(-len(data) % 8)


HOSTILE = {
    "a file of the host below": ({"backing": b"/etc/shadow"}, "difference to another file"),
    "the same in version 2": ({"backing": b"/etc/shadow", "version": 2}, "difference to another file"),
    "a file below that JSON describes": (
        {"backing": b'json:{"driver":"raw","file":{"driver":"host_device","filename":"/dev/vda"}}'},
        "difference to another file",
    ),
    "its data in a file of the host": ({"features": 4, "extensions": extension(0x44415441, b"/etc/passwd")}, "data is in another file"),
    "the name of a data file alone": ({"extensions": extension(0x44415441, b"/etc/passwd")}, "data is in another file"),
    "encryption": ({"encryption": 2}, "encrypted"),
    "snapshots": ({"snapshots": 3}, "snapshots inside"),
    "marked as damaged": ({"features": 2}, "marked as damaged"),
    "features of another time": ({"features": 1 << 40}, "not known here"),
}
DAMAGED = {
    "no image": (lambda path: path.write_bytes(b"\x7fELF" + bytes(CLUSTER)), "not a qcow2 image"),
    "empty": (lambda path: path.write_bytes(b""), "not a qcow2 image"),
    "a header cut off": (lambda path: path.write_bytes(image(path).read_bytes()[:90]), "cut off"),
    "tables cut off": (lambda path: image(path, length=2 * CLUSTER), "cut off"),
    "a disk larger than any": (lambda path: image(path, size=1 << 62), "claims to hold"),
    "clusters of no size": (lambda path: image(path, bits=40), "impossible size"),
    "a version of another time": (lambda path: image(path, version=7), "version 7"),
    "extensions without an end": (lambda path: image(path, extensions=struct.pack(">II", 5, 0xFFFFFFF0)), "does not end"),
}


def test_what_stands_alone_passes(tmp_path: Path) -> None:
    assert qcow2.inspect(image(tmp_path / "a.qcow2")) == 1 << 20
    assert qcow2.inspect(image(tmp_path / "b.qcow2", version=2, size=3 << 30)) == 3 << 30
    assert qcow2.inspect(image(tmp_path / "c.qcow2", features=9, extensions=extension(0x23852875, bytes(24)))) == 1 << 20


@pytest.mark.parametrize("name", HOSTILE)
def test_what_needs_another_file_is_refused_and_nothing_is_touched(name: str, tmp_path: Path) -> None:
    described, why = HOSTILE[name]
    made = image(tmp_path / "a.qcow2", **described)  # type: ignore[arg-type]
    before, target = made.read_bytes(), tmp_path / "to.qcow2"
    target.touch()
    with pytest.raises(BadInput, match=why):
        qcow2.convert(made, target)
    assert (made.read_bytes(), target.read_bytes()) == (before, b"")
    # And wherever a disk is used that is there already.
    with pytest.raises(NoData, match=why):
        disks.virtual_size(made)
    with pytest.raises(NoData, match=why):
        disks.expand(made, tmp_path / "other.qcow2", disks.ROOT)
    assert not (tmp_path / "other.qcow2").exists()


@pytest.mark.parametrize("name", DAMAGED)
def test_what_is_damaged_is_said_to_be(name: str, tmp_path: Path) -> None:
    make, why = DAMAGED[name]
    make(tmp_path / "a.qcow2")
    with pytest.raises(qcow2.NoImage, match=why):
        qcow2.inspect(tmp_path / "a.qcow2")
    with pytest.raises(NoData, match="damaged"):
        disks.virtual_size(tmp_path / "a.qcow2")


def test_a_size_that_is_too_large_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="more than there may be"):
        qcow2.inspect(image(tmp_path / "a.qcow2", size=5 << 30), most=4 << 30)
