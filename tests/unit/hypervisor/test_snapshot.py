"""What is known of a snapshot's files: facts in words, digests that do not see holes, and what is read again."""

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.hypervisor.libvirt import snapshot_files
from appliance.hypervisor.provider import Unfit

FACTS = snapshot_files.Facts("QEMU 7.2.22", "emulation", "pc-q35-7.2", "EmulatedCpu", 256, "abc")
PAGE = 4096


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A snapshot, whose memory has data at its beginning, in its middle and at its end."""
    folder = tmp_path / "snapshot"
    folder.mkdir()
    with (folder / snapshot_files.MEMORY).open("wb") as memory:
        for place in (0, 3 * snapshot_files.CHUNK + PAGE, 8 * snapshot_files.CHUNK - PAGE):
            memory.seek(place)
            memory.write(os.urandom(PAGE))
    (folder / snapshot_files.STATE).write_bytes(os.urandom(1000))
    (folder / snapshot_files.DISK).write_bytes(os.urandom(3000))
    snapshot_files.keep(folder, FACTS)
    return folder


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that are read from now on."""
    read, digest = list[str](), snapshot_files.digest

    def noting(file: Path) -> str:
        read.append(file.name)
        return digest(file)

    monkeypatch.setattr(snapshot_files, "digest", noting)
    return read


def test_what_differs_is_said_in_words() -> None:
    recorded = json.loads(json.dumps(vars(FACTS)))
    assert FACTS.differs(recorded) == ""
    assert replace(FACTS, hypervisor="QEMU 10.0.2").differs(recorded) == "hypervisor was QEMU 7.2.22, and is QEMU 10.0.2"
    assert replace(FACTS, memory=512).differs(recorded) == "memory was 256, and is 512"
    assert replace(FACTS, domain="def").differs(recorded) == "the machines' devices have changed"
    assert FACTS.differs({}) == "hypervisor was None, and is QEMU 7.2.22"


def test_files_of_any_size_have_digests(tmp_path: Path) -> None:
    digests = set()
    for size in (0, 1, PAGE, snapshot_files.CHUNK - 1, snapshot_files.CHUNK, snapshot_files.CHUNK + 1):
        for content in {bytes(size), b"x" * size}:
            (tmp_path / "file").write_bytes(content)
            digests.add(snapshot_files.digest(tmp_path / "file"))
    assert len(digests) == 11
    with (tmp_path / "file").open("wb") as hole:
        hole.truncate(snapshot_files.CHUNK)
    assert snapshot_files.digest(tmp_path / "file") in digests


def test_a_snapshot_is_read_once_and_again_when_it_was_touched(folder: Path, tmp_path: Path, read: list[str]) -> None:
    verified = tmp_path / "run" / "verified"
    snapshot_files.check(folder, FACTS, verified)
    assert sorted(read) == [snapshot_files.DISK, snapshot_files.MEMORY, snapshot_files.STATE]
    snapshot_files.check(folder, FACTS, verified)
    assert len(read) == 3
    # Somebody writes what is there already, or replaces a file, or hides the time of having written.
    state = folder / snapshot_files.STATE
    content, times = state.read_bytes(), state.stat()
    state.chmod(0o644)
    state.write_bytes(content)
    snapshot_files.check(folder, FACTS, verified)
    assert len(read) == 6
    shutil.copy2(state, folder / "new")
    (folder / "new").rename(state)
    snapshot_files.check(folder, FACTS, verified)
    assert len(read) == 9
    state.write_bytes(bytes([content[0] ^ 1]) + content[1:])
    os.utime(state, ns=(times.st_atime_ns, times.st_mtime_ns))
    for _ in range(2):  # a damaged one is never remembered as whole
        with pytest.raises(Unfit, match="state is damaged: its content"):
            snapshot_files.check(folder, FACTS, verified)
    # What is known is forgotten with its folder.
    state.write_bytes(content)
    snapshot_files.check(folder, FACTS, verified)
    count = len(read)
    shutil.rmtree(verified)
    snapshot_files.check(folder, FACTS, verified)
    assert len(read) == count + 3
    assert [file.suffix for file in verified.iterdir()] == [".json"]


@pytest.mark.badinput
def test_a_note_that_is_no_note_does_not_matter(folder: Path, tmp_path: Path, read: list[str]) -> None:
    snapshot_files.check(folder, FACTS, tmp_path)
    (note,) = tmp_path.glob("*.json")
    for broken in ("", "{", "[]", '{"a": 1}'):
        note.write_text(broken)
        snapshot_files.check(folder, FACTS, tmp_path)
    assert len(read) == 15


@pytest.mark.badinput
@pytest.mark.parametrize("name", [snapshot_files.MEMORY, snapshot_files.STATE, snapshot_files.DISK])
def test_a_file_cut_short_or_missing_is_named(folder: Path, tmp_path: Path, name: str) -> None:
    file = folder / name
    size = file.stat().st_size
    file.chmod(0o644)
    os.truncate(file, size - 1)
    with pytest.raises(Unfit, match=f"{name} is damaged: {size - 1} bytes instead of {size}"):
        snapshot_files.check(folder, FACTS, tmp_path)
    file.unlink()
    with pytest.raises(Unfit, match=f"missing.*{name}"):
        snapshot_files.check(folder, FACTS, tmp_path)


@pytest.mark.badinput
@pytest.mark.parametrize("text", ["", "{", "[]", "7", "null", "\x00", '{"files": 3}', '{"files": {"memory": {}}}'])
def test_facts_that_are_none_are_refused(folder: Path, tmp_path: Path, text: str) -> None:
    facts = folder / snapshot_files.FACTS
    facts.chmod(0o644)
    facts.write_text(text)
    with pytest.raises(Unfit) as caught:
        snapshot_files.check(folder, FACTS, tmp_path)
    assert "by itself" in caught.value.hint
    facts.write_text(json.dumps({**vars(FACTS), "files": {"memory": {}}}))
    with pytest.raises(Unfit, match="cannot be read"):
        snapshot_files.check(folder, FACTS, tmp_path)
