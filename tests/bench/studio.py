"""The studio, where classes are made: packages found in the whole index of a release, against `apt-cache search` of the same words.

Both go by what apt fetched from the mirror that builds use, long descriptions included, and both say every package that they find. At its smallest it is a
mirror of few packages in a folder.
"""

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from appliance.packages import Index, sources
from appliance.packages.refresh import Job, options
from appliance.run import run as run_program
from appliance.settings import load
from tests import packages

RELEASE, ROUNDS, ALL = "debian-13", 5, 100_000
SMALLEST = {"RELEASE": "", "ROUNDS": 1}
WORDS = ("postgresql", "database server", "web", "python notebook", "editor", "statistics", "nothing-like-it")


def _lines(folder: Path) -> list[str]:
    if RELEASE:
        return sources.mirror(load().debian_mirror).lines(sources.SUITES[RELEASE])
    packages.mirror(folder, {"trixie": packages.text(packages.stanzas())})
    return [f"deb [trusted=yes] file:{folder} trixie main"]


def _seconds(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def run() -> Iterator[dict[str, Any]]:
    with tempfile.TemporaryDirectory(prefix="dpe-bench-") as made:
        folder = Path(made)
        (work := folder / "work").mkdir()
        job = Job(_lines(folder / "mirror"), str(folder / "index.db"), str(work))
        count = job.run()
        apt, env = ["apt-cache", *options(work), "search"], {"APT_CONFIG": str(work / "apt.conf")}
        run_program([*apt, "a"], env=env)  # makes what it remembers

        def ours(text: str) -> int:
            with closing(Index(Path(job.file))) as index:  # opened for each question, as the page does
                return index.search(text, ALL).total

        mine, theirs, met = [], [], []
        for text in WORDS:
            mine.append(min(_seconds(lambda text=text: ours(text)) for _ in range(ROUNDS)))  # type: ignore[misc]
            theirs.append(min(_seconds(lambda text=text: run_program([*apt, *text.split()], env=env)) for _ in range(ROUNDS)))  # type: ignore[misc]
            met.append(f"{text}: {ours(text)} of {len(run_program([*apt, *text.split()], env=env).splitlines())}")
        value, baseline = statistics.fmean(mine), statistics.fmean(theirs)
        yield {
            "name": "studio.search", "value": round(value, 5),
            "unit": f"s for a search of {count:,} packages, all that is found ({'; '.join(met)})",
            "baseline": "s for `apt-cache search` of the same words", "baseline_value": round(baseline, 5), "ratio": round(baseline / value, 2),
        }  # fmt: skip
