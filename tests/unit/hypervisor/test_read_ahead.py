"""Which pages of a snapshot a machine touched, from what the kernel tells of its process."""

import json
import os
from array import array
from pathlib import Path

import pytest

from appliance.hypervisor.libvirt import read_ahead
from appliance.hypervisor.libvirt.read_ahead import GAP, PAGE, TOUCHED
from appliance.hypervisor.libvirt.snapshot_files import MEMORY

PID = 4711
FIRST = 0x7F00  # the page of the address space where the memory is mapped


@pytest.fixture
def pid(tmp_path: Path) -> Path:
    """Where its process is told."""
    (tmp_path / "small.pid").write_text(f"{PID}\n")
    return tmp_path / "small.pid"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "snapshot-1"
    folder.mkdir()
    (folder / MEMORY).write_bytes(bytes(300 * PAGE))
    return folder


def process(tmp_path: Path, folder: Path, touched: dict[int, int], name: str = "") -> Path:
    """A /proc with a process that has mapped the memory from its tenth page on; `touched` are the flags of pages of the file."""
    proc = tmp_path / "proc"
    (proc / str(PID)).mkdir(parents=True)
    memory = folder / MEMORY
    lines = [
        "00400000-00452000 r-xp 00000000 fe:00 173521 /usr/bin/qemu-system-x86_64",
        f"{FIRST * PAGE:08x}-{(FIRST + 290) * PAGE:08x} rw-p {10 * PAGE:08x} fe:00 {memory.stat().st_ino} {name or memory}",
        "7ffc0000-7ffd0000 rw-p 00000000 00:00 0",
    ]
    (proc / str(PID) / "maps").write_text("\n".join(lines) + "\n")
    entries = array("Q", bytes(8 * (FIRST + 400)))
    for page, flag in touched.items():
        entries[FIRST + page - 10] = flag
    (proc / str(PID) / "pagemap").write_bytes(entries.tobytes())
    return proc


def recorded(folder: Path) -> list[list[int]]:
    found: list[list[int]] = json.loads((folder / TOUCHED).read_text())
    return found


def test_what_was_touched_is_written_down_once(folder: Path, pid: Path, tmp_path: Path) -> None:
    present, swapped, dirty = 1 << 63, 1 << 62, 1 << 55
    touched = {10: present, 11: swapped, 12: dirty, 11 + GAP: present, 12 + 2 * GAP: present, 299: present | dirty}
    proc = process(tmp_path, folder, touched)
    read_ahead.record(folder, pid, proc)
    assert recorded(folder) == [[10 * PAGE, (12 + GAP) * PAGE], [(12 + 2 * GAP) * PAGE, (13 + 2 * GAP) * PAGE], [299 * PAGE, 300 * PAGE]]
    (proc / str(PID) / "pagemap").unlink()
    read_ahead.record(folder, pid, proc)  # it is known
    assert len(recorded(folder)) == 3


def test_what_is_not_known_is_not_written(folder: Path, pid: Path, tmp_path: Path) -> None:
    read_ahead.record(folder, pid, tmp_path / "proc")  # which has ended
    read_ahead.record(folder, pid, process(tmp_path, folder, {20: 1 << 63}, name="/another/file"))  # on another disk, with the same number
    assert not (folder / TOUCHED).exists()


@pytest.mark.badinput
@pytest.mark.parametrize("text", ["", "[", "5", "[5]", '[["a", 1]]', "[[-1, 5]]", "[[1e300, 5]]", "[[0, 99999999999999999999999]]"])
def test_a_record_that_is_none_holds_up_nobody(folder: Path, text: str) -> None:
    (folder / TOUCHED).write_text(text)
    read_ahead.read_ahead(folder)


def test_the_kernel_is_asked_for_what_was_touched_and_the_rest_of_the_files(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = list[tuple[str, int, int]]()

    def advise(handle: int, start: int, length: int, advice: int) -> None:
        assert advice == os.POSIX_FADV_WILLNEED
        asked.append((Path(f"/proc/self/fd/{handle}").readlink().name, start, length))

    monkeypatch.setattr(os, "posix_fadvise", advise)
    for name in ("state", "disk.qcow2"):
        (folder / name).touch()
    read_ahead.read_ahead(folder)  # of which nothing is known
    assert asked == []
    (folder / TOUCHED).write_text(json.dumps([[PAGE, 3 * PAGE], [9 * PAGE, 10 * PAGE]]))
    read_ahead.read_ahead(folder)
    assert asked == [("memory", PAGE, 2 * PAGE), ("memory", 9 * PAGE, PAGE), ("state", 0, 0), ("disk.qcow2", 0, 0)]
