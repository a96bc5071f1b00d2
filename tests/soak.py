"""`make soak`: whatever proves by counting, in full, and everything that takes hours: storms, thousands of forks, long simulations, the image.

`make test` runs a small number of each. This goes on where it was stopped (for the same commit), writes what each item said to
test-results/soak/, and ends with a report: what passed, what failed and with which DPE_TEST_SEED, and what did not run.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

FOLDER = Path("test-results/soak")
NOT_RUN = "not run"


@dataclass(frozen=True)
class Item:
    """One run of pytest: what is chosen, as on its command line, and how many of it."""

    name: str
    chosen: str
    counts: dict[str, int] = field(default_factory=dict)


ITEMS = (
    Item("simulation", "tests/integration/test_simulation.py", {"DPE_TEST_HISTORIES": 10_000}),
    Item("kills", "tests/integration/test_kills.py::test_kills_leak_nothing_and_rob_nobody", {"DPE_TEST_KILLS": 200}),
    Item("storm", "tests/integration/test_storm.py", {"DPE_TEST_CLAIMS": 300, "DPE_TEST_PEOPLE": 60}),
    Item("points", "tests/integration/test_crash.py", {"DPE_TEST_POINTS": 3}),
    Item("services", "tests/integration/test_services.py", {"DPE_TEST_ROUNDS": 10, "DPE_TEST_CLIENTS": 6}),
    Item("services-killed", "tests/unit/engine/test_services_killed.py", {"DPE_TEST_POINTS": 1}),
    Item("cuts-fork", "tests/integration/test_fork.py::test_a_fork_cut_off_anywhere_is_simply_made_again", {"DPE_TEST_CUTS": 50}),
    Item("cuts-disk", "tests/integration/test_lifecycle.py::test_what_was_cut_off_anywhere_is_simply_done_again", {"DPE_TEST_CUTS": 20}),
    Item("forks-at-once", "tests/integration/test_fork.py::test_forks_at_once_share_nothing", {"DPE_TEST_AT_ONCE": 10}),
    Item(
        "older",
        "tests/integration/test_fork.py tests/integration/test_lifecycle.py tests/integration/test_seeds.py -k small12",
        {"DPE_TEST_OLDER": 1},
    ),
    Item("random", "tests/integration/test_fork.py::test_no_two_forks_ever_read_the_same_random_numbers", {"DPE_TEST_OLDER": 1}),
    Item("forks", "tests/integration/test_fork.py::test_forks_in_a_row_lose_none_and_leave_nothing", {"DPE_TEST_FORKS": 1000}),
    Item("hostile", "tests/integration/test_seeds.py::test_a_build_killed_anywhere_dies_whole", {"DPE_TEST_BUILD_CUTS": 100}),
    Item("windows", "tests/unit/pools/test_windows.py::test_every_minute_of_a_year_is_as_brute_force_has_it", {"DPE_TEST_STEP": 1}),
    Item("api", "tests/unit/webui/test_api_document.py", {"DPE_TEST_EXAMPLES": 200}),
    Item("api-killed", "tests/integration/programs/test_api_killed.py", {"DPE_TEST_CREATES": 1000}),
    Item("webhooks-killed", "tests/integration/programs/test_webhooks_killed.py", {"DPE_TEST_KILLS": 300}),
    Item("firstpath", "tests/integration/test_firstpath.py -m firstpath"),
    Item("desktop", "tests/integration/test_desktop.py::test_a_desktop_is_drawn_in_and_keeps_what_is_its_owners", {"DPE_TEST_DESKTOP": 1}),
    Item("studio", "tests/integration/test_studio.py", {"DPE_TEST_STUDIO": 1}),
    Item("website", "tests/integration/test_website.py", {"DPE_TEST_WEBSITE": 1}),
    Item("choice", "tests/integration/test_choice.py", {"DPE_TEST_CHOSEN": 1}),
    Item("applications", "tests/integration/test_applications.py -m applications"),
    Item("bench-fork", "tests/bench/test_shape.py", {"DPE_TEST_LONG_BENCH": 1}),
    *(
        Item(f"image-{name}", f"tests/image/test_{name}.py")
        for name in ("boot", "build", "firstboot", "network", "rescue", "backup", "storage", "update", "power", "machine")
    ),
)


@dataclass
class Result:
    """How an item ended: passed, failed or not run; the seed that repeats it."""

    status: str = NOT_RUN
    minutes: float = 0.0
    seed: int = 0


def commit() -> str:
    """What is tested, in one word: the commit, and whether anything was changed since."""
    said = ["rev-parse", "HEAD"], ["status", "--porcelain"]
    head, changed = (subprocess.run(["git", *words], capture_output=True, text=True, check=True).stdout.strip() for words in said)
    return f"{head}{'+' if changed else ''}"


def earlier(file: Path, tested: str) -> dict[str, Result]:
    """What an earlier run of the same commit found; nothing when there was none."""
    try:
        kept = json.loads(file.read_text())
    except (OSError, ValueError):
        return {}
    return {name: Result(**result) for name, result in kept["items"].items()} if kept["commit"] == tested else {}


def run(item: Item, seed: int) -> Result:
    """Run one item; what it says is kept, and its end shown when it fails."""
    log = FOLDER / f"{item.name}.log"
    env = {**os.environ, **{name: str(count) for name, count in item.counts.items()}, "DPE_TEST_SEED": str(seed)}
    begun = time.monotonic()
    with log.open("wb") as said:
        done = subprocess.run(
            [sys.executable, "-m", "pytest", *item.chosen.split()], env=env, stdout=said, stderr=subprocess.STDOUT, check=False
        )
    if done.returncode:
        print("\n".join(log.read_text(errors="replace").splitlines()[-40:]))
    return Result("failed" if done.returncode else "passed", (time.monotonic() - begun) / 60, seed)


def report(results: dict[str, Result]) -> str:
    """The table of the end."""
    lines = [f"{'item':<18}{'result':<10}{'minutes':>8}  DPE_TEST_SEED"]
    for item in ITEMS:
        result = results.get(item.name, Result())
        lines.append(f"{item.name:<18}{result.status:<10}{result.minutes:>8.1f}  {result.seed or ''}".rstrip())
    return "\n".join(lines)


def main() -> int:
    """Returns the status of the process: 0 when everything that was asked for has passed."""
    parser = argparse.ArgumentParser(prog="make soak", description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--only", default="", help="names of items, separated by commas")
    parser.add_argument("--again", action="store_true", help="begin anew, also with what has passed")
    wanted = parser.parse_args()
    names = [name for name in wanted.only.split(",") if name] or [item.name for item in ITEMS]
    if unknown := set(names) - {item.name for item in ITEMS}:
        parser.error(f"there is no {', '.join(sorted(unknown))}; there are {', '.join(item.name for item in ITEMS)}")
    FOLDER.mkdir(parents=True, exist_ok=True)
    file, tested = FOLDER / "report.json", commit()
    results = {} if wanted.again else earlier(file, tested)
    try:
        for item in (item for item in ITEMS if item.name in names):
            if results.get(item.name, Result()).status == "passed":
                continue
            print(f"{item.name} ...", flush=True)
            results[item.name] = run(item, int(os.environ.get("DPE_TEST_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 30))
            kept = {"commit": tested, "items": {name: asdict(result) for name, result in results.items()}}
            file.write_text(json.dumps(kept, indent=1))
    except KeyboardInterrupt:
        print("Stopped; the same command goes on from here.")
    print(report(results))
    return 0 if all(results.get(name, Result()).status == "passed" for name in names) else 1


if __name__ == "__main__":
    sys.exit(main())
