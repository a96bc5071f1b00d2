"""`python -m tests [MARKER]`: the tiers one after the other, what fails soonest first.

What failed is said again in the end, after what each tier took of its budget and which tests were the slowest.
"""

import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import psutil

REPORTS = Path("test-results")
WRONG_USAGE, NOTHING_CHOSEN = 4, 5  # statuses of pytest
SLOWEST = 20
MEMORY, ENOUGH = Path("/dev/shm"), 3 << 30  # bytes


@dataclass(frozen=True)
class Tier:
    """Tests of one folder: how many run at a time, how many minutes they may take on two quiet processors, and which of them.

    Those that are `beside` need one processor or less: they run one after the other, while the tier above them does. The files
    of those `in_memory` lie there, where there is room: each commit of a catalog waits for the disk otherwise, thousands of times.
    """

    name: str
    workers: str
    minutes: float
    folder: str = ""
    marker: str = ""
    parts: str = "load"  # what goes to one worker, as pytest-xdist calls it
    beside: bool = False
    in_memory: bool = False


# Integration two files at a time: each worker has state, network and addresses of its own, and machines that are emulated fill a processor.
TIERS = (
    Tier("unit", "logical", 4, in_memory=True),
    Tier("integration", "2", 22, marker="not alone", parts="loadfile"),
    Tier("fresh", "0", 8, beside=True),
    Tier("image", "0", 8, marker="smoke", beside=True),
    Tier("bench", "0", 3, beside=True),  # for the shape of what they print, here
    Tier("alone", "0", 3, folder="integration", marker="alone"),
    Tier("browser", "logical", 6, in_memory=True),
)


@dataclass
class Result:
    """How a tier ended: pytest's status, the lines that say what is wrong, seconds, how busy the processors were, and the seconds of each test."""

    status: int
    wrong: list[str]
    seconds: float
    busy: float  # of all processors, by whatever ran meanwhile; 0 to 1
    tests: dict[str, float]


def run(tier: Tier, marker: str) -> Result:
    """One tier, with its output as it comes, or in one piece for one that runs beside another."""
    report = REPORTS / f"{tier.name}.xml"
    report.unlink(missing_ok=True)
    command = [sys.executable, "-m", "pytest", f"tests/{tier.folder or tier.name}", f"--junitxml={report}"]
    if not marker:
        command += ["-n", tier.workers, "--maxprocesses", "8", "--dist", tier.parts, "--no-loadscope-reorder"]
    if wanted := " and ".join(f"({one})" for one in (tier.marker, marker) if one):
        command += ["-m", wanted]
    begun, processors, wrong, said = time.monotonic(), psutil.cpu_times(), [], []
    environment = {**os.environ, **memory()} if tier.in_memory else None
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, errors="replace", env=environment) as process:
        assert process.stdout
        for line in process.stdout:
            said.append(line)
            if not tier.beside:
                print(line, end="", flush=True)
            if line.startswith(("FAILED ", "ERROR ")):
                wrong.append(line.rstrip())
    if tier.beside:
        print(*said, sep="", end="", flush=True)
    if process.returncode not in (0, NOTHING_CHOSEN) and not wrong:
        wrong.append(f"ERROR tests/{tier.name}: pytest ended with status {process.returncode}")
    return Result(process.returncode, wrong, time.monotonic() - begun, busy_since(processors), durations(report))


def memory() -> dict[str, str]:
    """What has pytest put a test's files into memory; nothing where there is too little of it."""
    there = MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > ENOUGH and psutil.virtual_memory().available > ENOUGH
    return {"PYTEST_DEBUG_TEMPROOT": os.fspath(MEMORY)} if there else {}


def busy_since(earlier: Any) -> float:
    """The share of all processors' time that was not idle since `psutil.cpu_times()` was `earlier`."""
    passed = {name: after - before for name, before, after in zip(earlier._fields, earlier, psutil.cpu_times(), strict=True)}
    idle = passed["idle"] + passed.get("iowait", 0)
    every = sum(seconds for name, seconds in passed.items() if not name.startswith("guest"))  # which is in user's already
    return 1 - idle / every if every else 0


def durations(report: Path) -> dict[str, float]:
    """Seconds of each test of a report, its set-up included; none when pytest ended before it wrote one."""
    if not report.exists():
        return {}
    cases = ElementTree.parse(report).iter("testcase")
    return {f"{case.get('classname')}::{case.get('name')}": float(case.get("time", 0)) for case in cases}


def budget(results: dict[Tier, Result], minutes: float) -> list[str]:
    """The lines that say where the time went, which was so many minutes in all."""
    lines = ["", f"{'tier':<14}{'minutes':>8}{'budget':>8}{'tests':>7}{'busy':>7}"]
    for tier, result in results.items():
        over = "  over its budget" if result.seconds > tier.minutes * 60 else ""
        lines.append(f"{tier.name:<14}{result.seconds / 60:>8.1f}{tier.minutes:>8}{len(result.tests):>7}{result.busy:>7.0%}{over}")
    allowed = sum(tier.minutes for tier in results if not tier.beside)
    lines += [f"{'all':<14}{minutes:>8.1f}{allowed:>8}", "", f"The {SLOWEST} slowest tests, in seconds:"]
    every = {name: seconds for result in results.values() for name, seconds in result.tests.items()}
    lines += [f"{every[name]:8.1f}  {name}" for name in sorted(every, key=every.__getitem__, reverse=True)[:SLOWEST]]
    return [*lines, ""]


def stages() -> list[tuple[Tier, list[Tier]]]:
    """The tiers in their order, each with those that run beside it."""
    found: list[tuple[Tier, list[Tier]]] = []
    for tier in TIERS:
        if tier.beside:
            found[-1][1].append(tier)
        else:
            found.append((tier, []))
    return found


def main(marker: str = "") -> int:
    """Returns the status of the process: 0 when all passed."""
    results: dict[Tier, Result] = {}
    begun = time.monotonic()
    for tier, beside in stages():
        with ThreadPoolExecutor(1) as other:
            later: dict[Tier, Future[Result]] = {one: other.submit(run, one, marker) for one in beside}
            results[tier] = run(tier, marker)
        results |= {one: ended.result() for one, ended in later.items()}
        if results[tier].status == WRONG_USAGE:
            return WRONG_USAGE  # pytest said why, and would say it again
    print(*budget(results, (time.monotonic() - begun) / 60), sep="\n")
    wrong = [line for result in results.values() for line in result.wrong]
    if {result.status for result in results.values()} == {NOTHING_CHOSEN}:
        wrong = [f"ERROR no test is chosen by {marker!r}"]
    print(*(wrong or ["All tests passed."]), sep="\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
