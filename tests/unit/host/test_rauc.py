"""What RAUC 1.13 says, as values: the bundle and the answers were recorded from it."""

import hashlib
import json
from pathlib import Path

import pytest

from appliance.errors import BadInput, CommandFailed, Unavailable
from appliance.host.updates import rauc
from tests.fake_rauc import GOOD, FakeHost


@pytest.fixture(autouse=True)
def _there(fake_host: FakeHost) -> None:
    """All of these ask it."""


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    file = tmp_path / "update.raucb"
    file.write_bytes(GOOD)
    return file


def test_a_good_bundle_says_what_it_is_and_who_signed_it(bundle: Path) -> None:
    assert rauc.read(bundle) == rauc.Bundle("1.3.0", "dpe-appliance", "2026-11-21T10:00:00Z", "Our builds", len(GOOD), 20000, "notebook")


@pytest.mark.badinput
@pytest.mark.parametrize("at", [0, 4096, 12345, 20479], ids=["first block", "second", "middle", "last"])
def test_one_changed_byte_anywhere_in_the_system_is_found_before_anything_is_written(bundle: Path, at: int) -> None:
    data = bytearray(GOOD)
    data[at] ^= 1
    bundle.write_bytes(data)
    with pytest.raises(BadInput, match="not all of it is what was signed"):
        rauc.read(bundle)


@pytest.mark.badinput
def test_a_changed_hash_tree_is_found_too(bundle: Path) -> None:
    """The kernel would trip over it in the middle of an installation."""
    signature = int.from_bytes(GOOD[-8:], "big")
    data = bytearray(GOOD)
    data[len(GOOD) - 8 - signature - 4096] ^= 1
    bundle.write_bytes(data)
    with pytest.raises(BadInput, match="not all of it is what was signed"):
        rauc.read(bundle)


@pytest.mark.badinput
@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "no update, or only a part of one"),
        (GOOD[:20000], "no update, or only a part of one"),
        (b"x" * 5000, "no update, or only a part of one"),
        (b"foreign" + GOOD, "not signed by anybody this appliance trusts"),
    ],
    ids=["empty", "cut", "noise", "another key"],
)
def test_what_is_no_good_bundle_is_refused_in_words(bundle: Path, data: bytes, words: str) -> None:
    bundle.write_bytes(data)
    with pytest.raises(BadInput, match=words):
        rauc.read(bundle)


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("signature verification failed: Verify error: certificate has expired", "not valid at this date"),
        ("signature verification failed: Verify error: certificate is not yet valid", "not valid at this date"),
        ("signature verification failed: digest failure", "changed or damaged"),
        ("bundle format 'plain' not allowed", "does not take"),
        ("something new", "something new"),
    ],
)
def test_every_other_reason_has_words(said: str, words: str) -> None:
    assert words in rauc.meaning(CommandFailed("rauc ended", status=1, output=said)).message


def test_a_missing_rauc_is_no_fault_of_the_file() -> None:
    assert isinstance(rauc.meaning(CommandFailed("The program rauc is not installed.", status=127, output="")), Unavailable)


def tree(data: bytes, salt: bytes) -> list[bytes]:
    """The levels of a dm-verity tree as the kernel documents it, the root's hash last. Written apart from the product."""
    hashes = [hashlib.sha256(salt + data[at : at + 4096]).digest() for at in range(0, len(data), 4096)]
    if len(hashes) == 1:
        return [hashes[0]]
    blocks = b"".join(b"".join(hashes[at : at + 128]).ljust(4096, b"\0") for at in range(0, len(hashes), 128))
    return [blocks, *tree(blocks, salt)]


@pytest.mark.parametrize("blocks", [2, 128, 129, 300])
def test_trees_of_every_depth(tmp_path: Path, blocks: int) -> None:
    salt = bytes(range(32))
    data = b"".join(number.to_bytes(4, "big") * 1024 for number in range(blocks))
    *levels, root = tree(data, salt)
    stored = b"".join(reversed(levels))
    file = tmp_path / "bundle"
    file.write_bytes(data + stored + b"signature" + (9).to_bytes(8, "big"))
    rauc.check_payload(file, salt=salt.hex(), root=root.hex(), tree=len(stored))
    with pytest.raises(BadInput):
        rauc.check_payload(file, salt=salt.hex(), root=bytes(32).hex(), tree=len(stored))


def test_slots(fake_host: FakeHost) -> None:
    fake_host.boot("B", "1.3.0", other="bad")
    system = rauc.system()
    assert system.compatible == "dpe-appliance"
    assert system.slots == [rauc.Slot("A", booted=False, good=False), rauc.Slot("B", booted=True, good=True)]
    assert (system.next, system.booted, system.other) == ("A", system.slots[1], system.slots[0])
    facts = json.loads((fake_host.folder / "status.json").read_text())
    facts["boot_primary"] = None
    (fake_host.folder / "status.json").write_text(json.dumps(facts))
    assert rauc.system().next == ""


def test_the_progress_of_an_installation_and_why_it_failed(fake_host: FakeHost, bundle: Path) -> None:
    told: list[tuple[str, int | None]] = []
    rauc.install(bundle, lambda line, progress: told.append((line, progress)))
    assert ("Copying image to rootfs.1", 90) in told
    assert [progress for _, progress in told] == sorted(progress for _, progress in told)  # type: ignore[type-var]
    (fake_host.folder / "fails").touch()
    with pytest.raises(Unavailable, match="Failed mounting bundle"):
        rauc.install(bundle, lambda *_: None)
