"""What processes take, from the kernel's own files; with real pages in a real process."""

import os
from pathlib import Path

import pytest

from appliance.hypervisor.libvirt.memory import Gauge, Taken, taken


def test_swapped_out_memory_is_still_taken(tmp_path: Path) -> None:
    (tmp_path / "7").mkdir()
    (tmp_path / "7" / "smaps_rollup").write_text(
        "55d-7ff ---p 00000000 00:00 0 [rollup]\nRss: 300 kB\nPss: 3000 kB\nShared_Clean: 0 kB\nPrivate_Clean: 500 kB\nPrivate_Dirty: 1000 kB\n"
        "Private_Hugetlb: 0 kB\nSwap: 900 kB\nSwapPss: 800 kB\n"
    )
    assert taken(7, tmp_path) == Taken(private=3, shared=1)


def test_a_look_takes_little_time_and_goes_round(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measured: list[str] = []
    clock = iter(range(10_000))
    monkeypatch.setattr("appliance.hypervisor.libvirt.memory.time.monotonic", lambda: next(clock))
    monkeypatch.setattr("appliance.hypervisor.libvirt.memory._of", lambda file: measured.append(file.name) or Taken(len(measured), 0))
    gauge = Gauge(budget=3)  # three each look, by this clock
    files = {name: tmp_path / name for name in "abcde"}
    assert len(gauge.look(files)) == 3
    assert len(gauge.look(files)) == 5, "the new ones came first"
    del files[measured[0]]
    for _ in range(2):
        gauge.look(files)
    assert set(gauge.look(files)) == set(files)
    assert {measured.count(name) for name in files} <= {2, 3, 4}, "none is left out"


def test_processes_that_end_are_forgotten_only_when_they_are_gone(tmp_path: Path) -> None:
    gauge, file = Gauge(), tmp_path / "machine.pid"
    file.write_text(f"{os.getpid()}\n")
    assert gauge.look({"a": file})["a"].private > 0
    file.unlink()
    assert gauge.look({"a": file, "b": tmp_path / "none"}).keys() == {"a"}
    assert gauge.look({"b": tmp_path / "none"}) == {}
