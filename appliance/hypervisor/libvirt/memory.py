"""What machines really take of the host's memory, as its kernel counts it for their QEMU processes."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

BUDGET = 0.2  # seconds a look may take: the kernel walks all page tables of a process, about 2 ms for a machine of 512 MiB


@dataclass(frozen=True)
class Taken:
    """MiB of the host: what is taken by one process alone, swapped out or not, and its part of what it shares with others."""

    private: int
    shared: int


def taken(pid: int, proc: Path = Path("/proc")) -> Taken | None:
    """What a process takes; None when it has ended."""
    try:
        lines = (proc / str(pid) / "smaps_rollup").read_text().splitlines()[1:]
    except OSError:
        return None
    kib = {name: int(rest.split()[0]) for name, _, rest in (line.partition(":") for line in lines)}
    alone = kib["Private_Clean"] + kib["Private_Dirty"] + kib.get("Private_Hugetlb", 0)
    shared = max(0, kib["Pss"] + kib.get("Private_Hugetlb", 0) - alone)
    # Rounded up: who runs takes something, and 0 is kept for what was not measured.
    return Taken(-(-(alone + kib["SwapPss"]) // 1024), round(shared / 1024))


class Gauge:
    """The last known figures of many processes. Each look takes little time: new ones are measured first, then those not measured for longest."""

    def __init__(self, budget: float = BUDGET) -> None:
        self.budget = budget
        self._known: dict[str, Taken] = {}  # the one measured longest ago first

    def look(self, pid_files: Mapping[str, Path]) -> Mapping[str, Taken]:
        """What these take, by name; whoever was not measured yet is missing."""
        self._known = {name: found for name, found in self._known.items() if name in pid_files}
        until = time.monotonic() + self.budget
        for name in [*(pid_files.keys() - self._known.keys()), *self._known]:
            if time.monotonic() > until:
                break
            before = self._known.pop(name, None)
            found = _of(pid_files[name]) or before
            if found:
                self._known[name] = found
        return dict(self._known)


def _of(pid_file: Path) -> Taken | None:
    try:
        return taken(int(pid_file.read_text()))
    except (OSError, ValueError):
        return None
