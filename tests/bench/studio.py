"""The studio, where classes are made: packages found in the whole index of a release, against `apt-cache search` of the same words; a seed with one more
application on an operating system that is known, against the same from nothing; and a machine of a recipe that is known, against one of a class.

Both searches go by what apt fetched from the mirror that builds use, long descriptions included, and both say every package that they find. At its smallest it is a
mirror of few packages in a folder, and nothing is built. Seeds are built up to the image: a test boot takes as long for either.
"""

import itertools
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from unittest import mock

from appliance import catalog, layout
from appliance.catalog import Account, Actor, Class, Machine, MachineState, Request, Seed, SeedState, options, policies, recipes, seeds
from appliance.engine import Engine
from appliance.lifecycle import recipes as keeping
from appliance.packages import Index, sources
from appliance.packages.refresh import Job
from appliance.packages.refresh import options as apt_options
from appliance.run import run as run_program
from appliance.scenario.schema import ClassSpec
from appliance.seeds.build import SeedJob, build
from appliance.services import choices
from appliance.services import machines as machine_verbs
from appliance.settings import load
from tests import packages
from tests.seeds import SMALL, small_scenario
from tests.unit.engine.fake import FakeProvider

RELEASE, ROUNDS, ALL, CLAIMS = "debian-13", 5, 100_000, 15
SMALLEST = {"RELEASE": "", "ROUNDS": 1, "CLAIMS": 2}
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
    yield from search()
    yield again()
    if RELEASE:
        yield layer()


def _result(name: str, value: float, unit: str, baseline: str, baseline_value: float) -> dict[str, Any]:
    return {
        "name": name, "value": round(value, 5), "unit": unit, "baseline": baseline, "baseline_value": round(baseline_value, 5),
        "ratio": round(baseline_value / value, 2),
    }  # fmt: skip


def layer() -> dict[str, Any]:
    """One more application, of a role and a package, for a release of which there is a seed."""
    with tempfile.TemporaryDirectory(prefix="dpe-bench-") as made:
        state = Path(made) / "s"
        settings = load({}, state=state, network="benchs")
        layout.prepare(settings)
        spec = small_scenario().classes["small"]
        versions = itertools.count(1)

        def built(spec: ClassSpec, **how: bool) -> float:
            version = next(versions)
            job = SeedJob(version, "small", version, spec, SMALL, **how)
            return _seconds(lambda: build(job, settings, lambda step: None, lambda: False))

        more = spec.model_copy(update={"packages": ["less"]})
        built(spec.model_copy(update={"roles": []}), layered=True)  # the operating system's
        value, baseline = built(more, layered=True), built(more, fresh=True)
    return _result(
        "studio.layer", value, "s for a seed with one more application upon an operating system that is known, without a test boot",
        "s for the same from nothing", baseline,
    )  # fmt: skip


def again() -> dict[str, Any]:
    """A machine of a recipe that is known, and one of its class: asked for, made and handed over by the engine. The hypervisor, which does the same for
    both and takes longest, is only memory: what is left is what differs."""
    with tempfile.TemporaryDirectory(prefix="dpe-bench-") as made:
        settings = load({}, state=Path(made) / "s", network="benchs")
        layout.prepare(settings)
        catalog.open(settings.catalog)
        engine = Engine(settings, FakeProvider(memory=1 << 20))
        try:
            with mock.patch.object(keeping, "tidy"):  # there is no scenario that it could be compared with
                value, baseline = _handed_over(engine)
        finally:
            engine.stop()
            engine.close()
            catalog.close()
    return _result(
        "studio.again", value, f"s until a machine of a recipe that is known is in use, the middle of {CLAIMS}, without the hypervisor",
        "s until one of its class is", baseline,
    )  # fmt: skip


def _handed_over(engine: Engine) -> tuple[float, float]:
    described = small_scenario().classes["small"].model_dump(mode="json")
    described |= {"sequence": "none", "choice": {"applications": ["web"]}, "per_person": 1000, "policy": {"maximum": 1000, "buffer": 0}}
    with catalog.write():
        options.put("setup_done", True)
        base = Class.create(name="small", **policies.columns({**described, "fork": False}, {}))
        account = Account.create(name="alice", password="!")
        alice = Actor("alice", account.id)
        chosen = choices.read(base, {"applications": ["web"]})
        for name in ("small", recipes.use(base, chosen)):
            seeds.promote(Seed.create(machine_class=name, version=1, state=SeedState.READY, stored=True, manifest={"cmdline": ""}))

    def in_use(ask: Callable[[], Request]) -> None:
        asked = ask()
        while (
            not Machine.select().where(Machine.id == Request.get_by_id(asked.id).machine_id, Machine.state == MachineState.IN_USE).exists()
        ):
            engine.tick()
            for job in engine.jobs.under_way():
                job.result(60)

    asks = {"recipe": lambda: choices.request(alice, base, chosen), "class": lambda: machine_verbs.request(alice, "small")}
    times: dict[str, list[float]] = {kind: [] for kind in asks}
    for number in range(CLAIMS):  # in turn, so that both meet the same catalog; each is first as often as second
        for kind in sorted(asks, reverse=bool(number % 2)):
            times[kind].append(_seconds(lambda kind=kind: in_use(asks[kind])))  # type: ignore[misc]
    return statistics.median(times["recipe"]), statistics.median(times["class"])


def search() -> Iterator[dict[str, Any]]:
    with tempfile.TemporaryDirectory(prefix="dpe-bench-") as made:
        folder = Path(made)
        (work := folder / "work").mkdir()
        job = Job(_lines(folder / "mirror"), str(folder / "index.db"), str(work))
        count = job.run()
        apt, env = ["apt-cache", *apt_options(work), "search"], {"APT_CONFIG": str(work / "apt.conf")}
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
        yield _result(
            "studio.search", value, f"s for a search of {count:,} packages, all that is found ({'; '.join(met)})",
            "s for `apt-cache search` of the same words", baseline,
        )  # fmt: skip
