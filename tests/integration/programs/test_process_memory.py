"""What processes take, from the kernel's own files; with real pages in a real process."""

import mmap
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.hypervisor.libvirt.memory import taken
from appliance.run import start

HOLD = """
import mmap, sys
size, file = int(sys.argv[1]) << 20, open(sys.argv[2], "rb")
alone = mmap.mmap(-1, size)
for at in range(0, size, 4096): alone[at] = 1
common = mmap.mmap(file.fileno(), 0, mmap.MAP_PRIVATE, mmap.PROT_READ)
sum(common[at] for at in range(0, len(common), 4096))
print("ready", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def holders(tmp_path: Path) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Two processes with 30 and 60 MiB of their own, and 40 MiB of a file that both map."""
    file = tmp_path / "memory"
    file.write_bytes(os.urandom(mmap.PAGESIZE) * (40 << 20 >> 12))
    started = [start([sys.executable, "-c", HOLD, str(size), file], stdin=subprocess.PIPE, stdout=subprocess.PIPE) for size in (30, 60)]
    for process in started:
        assert process.stdout
        assert process.stdout.readline() == b"ready\n"
    yield started
    for process in started:
        process.communicate()


def test_private_and_shared_are_told_apart(holders: list[subprocess.Popen[bytes]]) -> None:
    small, large = (taken(process.pid) for process in holders)
    assert small
    assert large
    assert 28 <= large.private - small.private <= 32
    assert 30 <= small.private <= 45
    assert 20 <= small.shared <= 30  # half of the 40 MiB, and its part of the C library and the like
    holders[0].communicate()
    alone = taken(holders[1].pid)
    assert alone
    assert alone.private >= large.private + 38  # what nobody shares any more is its own
    assert taken(holders[0].pid) is None
