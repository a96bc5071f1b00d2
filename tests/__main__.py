"""`python -m tests [MARKER]`: the tiers one after the other, what fails soonest first. What failed is said again in the end."""

import subprocess
import sys

# How many tests of a tier run at a time. Those of the middle one use the host's network, and the processors with their machines.
TIERS = {"unit": "logical", "integration": "0", "browser": "logical", "fresh": "2"}
WRONG_USAGE, NOTHING_CHOSEN = 4, 5  # statuses of pytest


def run(tier: str, marker: str) -> tuple[int, list[str]]:
    """One tier, with its output as it comes. Returns pytest's status and the lines that say what is wrong."""
    command = [sys.executable, "-m", "pytest", f"tests/{tier}"]
    command += ["-m", marker] if marker else ["-n", TIERS[tier], "--maxprocesses", "8"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, errors="replace") as process:
        assert process.stdout
        wrong = []
        for line in process.stdout:
            print(line, end="", flush=True)
            if line.startswith(("FAILED ", "ERROR ")):
                wrong.append(line.rstrip())
    if process.returncode not in (0, NOTHING_CHOSEN) and not wrong:
        wrong.append(f"ERROR tests/{tier}: pytest ended with status {process.returncode}")
    return process.returncode, wrong


def main(marker: str = "") -> int:
    """Returns the status of the process: 0 when all passed."""
    statuses, wrong = set(), []
    for tier in TIERS:
        status, more = run(tier, marker)
        if status == WRONG_USAGE:
            return status  # pytest said why, and would say it again
        statuses.add(status)
        wrong += more
    if statuses == {NOTHING_CHOSEN}:
        wrong = [f"ERROR no test is chosen by {marker!r}"]
    print(*(wrong or ["All tests passed."]), sep="\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
