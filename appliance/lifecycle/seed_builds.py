"""Building a seed as the catalog sees it: queued, building with its progress, then ready and promoted, failed or cancelled.

One that came with the image goes the same way, and is copied instead of built.
"""

import logging
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from appliance import catalog
from appliance.catalog import Class, EventKind, Seed, SeedState, Snapshot, SnapshotState, now, options, record, scenarios, seeds
from appliance.catalog import recipes as recipe_rows
from appliance.errors import BadInput, DpeError
from appliance.hypervisor.provider import Provider
from appliance.lifecycle import package_index, recipes
from appliance.paths import inside
from appliance.scenario.load import Loaded, load
from appliance.seeds import shipped
from appliance.seeds.build import SeedFiles, SeedJob, SeedProgress, build, clear, link, seed_folder
from appliance.settings import Settings

log = logging.getLogger(__name__)

BUILDS = 3  # attempts at a build that the engine's own death cut off
ASK_EVERY = 0.5  # seconds between looks at whether somebody cancelled


@dataclass
class _Cancel:
    """Whether somebody asked to stop the build; asks the catalog now and then."""

    seed_id: int
    asked_at: float = 0.0
    wanted: bool = False

    def __call__(self) -> bool:
        if not self.wanted and time.monotonic() - self.asked_at > ASK_EVERY:
            self.asked_at = time.monotonic()
            seed = seeds.by_id(self.seed_id)
            self.wanted = seed is None or seed.cancel
        return self.wanted


def queue_shipped(loaded: Loaded, settings: Settings) -> None:
    """Queue the seeds that came with the image, for classes that never had one, or lost it; say which of them do not fit."""
    for name, spec in loaded.scenario.classes.items():
        folder, known = shipped.shipped_seed(name, settings), seeds.of_class(name)
        lost = next((seed for seed in known if seed.state is SeedState.QUEUED and seed.manifest.get("lost")), None)
        if folder is None or (known and lost is None):
            continue
        with catalog.write():
            seed = lost or Seed.create(machine_class=name, version=seeds.next_version(name))
            try:
                shipped.check_shipped(folder, spec, loaded.folder)
            except DpeError as error:
                if lost is None:  # that one is built
                    _end(seed, SeedState.FAILED, error)
            else:
                Seed.update(manifest={"shipped": str(folder)}).where(Seed.id == seed.id).execute()
                record(EventKind.SEED_QUEUED, f"Seed {name} v{seed.version} came with the image.", class_name=name, seed_id=seed.id)


def offer_shipped(loaded: Loaded, settings: Settings) -> None:
    """Note which seeds of the image are newer than all that their classes had, as they are after an update: an admin may take them."""
    offers = dict[str, dict[str, str]]()
    for name, spec in loaded.scenario.classes.items():
        folder, known = shipped.shipped_seed(name, settings), seeds.of_class(name)
        if folder is None or not known or seeds.unfinished(name):
            continue
        try:
            if built := shipped.newer(folder, [seed.manifest for seed in known if seed.state in (SeedState.READY, SeedState.REMOVED)]):
                shipped.check_shipped(folder, spec, loaded.folder)  # reads all of the scenario's roles, which few starts need
                offers[name] = {"folder": str(folder), "built": built}
        except DpeError as error:
            log.warning("%s: %s", name, error)
    with catalog.write():
        before = options.get("offered_seeds")
        if offers != before:
            options.put("offered_seeds", offers)
        for name in offers:
            if offers[name] != before.get(name):
                record(
                    EventKind.SEED_OFFERED,
                    f"A newer seed of {name} came with the image.",
                    class_name=name,
                    hint="Use it, or build one, on its page.",
                )


def run_current(seed: Seed, settings: Settings, provider: Provider) -> None:
    """Build one seed of the scenario that counts now. One that cannot be loaded is told as any failure."""
    try:
        loaded = load(scenarios.lay_out(settings), anywhere=bool(scenarios.digest()))
    except DpeError as error:
        _end(seed, SeedState.FAILED, error)
        return
    run(seed, loaded, settings, provider)


def run(seed: Seed, loaded: Loaded, settings: Settings, provider: Provider) -> None:
    """Build one queued (or interrupted) seed to its end. The promoted seed is replaced only by one that booted and answered."""
    folder = seed.manifest.get("shipped")
    if seed.attempts >= BUILDS and not folder:
        clear(seed.id, seed.class_name, seed.version, settings)
        _end(seed, SeedState.FAILED, DpeError(f"The build was cut off {BUILDS} times.", "Look at the engine's log, then build again."))
        return
    described = recipes.described(seed, loaded)
    if described is None:
        _end(
            seed,
            SeedState.FAILED,
            DpeError(f"The scenario no longer has a class {seed.class_name}.", "Put it back, or withdraw the class."),
        )
        return
    with catalog.write():
        if not seed.attempts:
            seed.version = _free_version(seed, settings)
        seed.state, seed.attempts, seed.started_at = SeedState.BUILDING, seed.attempts + 1, now()
        seed.log = "" if folder else str(settings.logs / "seeds" / f"{seed.class_name}-{seed.version}.log")
        seed.save()
        doing = f"Copying seed {seed.class_name} v{seed.version} from the image." if folder else ""
        message = doing or f"Building seed {seed.class_name} v{seed.version}."
        record(EventKind.SEED_BUILDING, message, class_name=seed.class_name, seed_id=seed.id)

    def progress(step: SeedProgress) -> None:
        with catalog.write():
            Seed.update(task=step.task_name, task_number=step.task_number, task_total=step.task_total).where(Seed.id == seed.id).execute()

    cancelled = _Cancel(seed.id)
    try:
        if folder:
            files = _adopt(seed, inside(settings.shipped_seeds, folder), settings, progress, cancelled)
        else:
            settings = options.chosen(settings)
            layered = recipe_rows.of_class(seed.class_name) is not None
            job = SeedJob(seed.id, seed.class_name, seed.version, described, loaded.folder, layered=layered)
            if (twin := recipe_rows.twin(seed)) is not None and recipes.is_current(twin, loaded):
                files = link(job, seed_folder(twin.class_name, twin.version, settings), settings)
            else:
                package_index.check(seed.class_name, described, loaded.folder, settings)
                files = build(job, settings, progress, cancelled, provider)
    except DpeError as error:
        _end(seed, SeedState.CANCELLED if cancelled.wanted else SeedState.FAILED, error)
        return
    with catalog.write():
        Seed.update(state=SeedState.READY, ended_at=now(), stored=True, manifest=files.manifest, task="", problem="", hint="").where(
            Seed.id == seed.id
        ).execute()
        Class.update(failures=0, failing_until=None, problem="").where(Class.name == seed.class_name).execute()
        seeds.promote(seed)
        record(
            EventKind.SEED_PROMOTED,
            f"Seed {seed.class_name} v{seed.version} {'is here' if folder else 'boots and answers'}: promoted.",
            class_name=seed.class_name,
            seed_id=seed.id,
        )
    if not folder:
        package_index.after_build(described.os)


def _free_version(seed: Seed, settings: Settings) -> int:
    """Its own, unless there is a seed of that version that this catalog does not know, and machines that lie on it, it may be."""
    version: int = seed.version
    while seed_folder(seed.class_name, version, settings).exists():
        version = max(version + 1, seeds.next_version(seed.class_name))
    return version


def remove(seed: Seed, settings: Settings) -> None:
    """Remove the files of a seed that somebody deleted."""
    try:
        shutil.rmtree(seed_folder(seed.class_name, seed.version, settings), ignore_errors=True)
    except BadInput as error:
        log.error("nothing of the seed %s is removed: %s", seed.id, error)
    with catalog.write():
        Snapshot.update(name="", state=SnapshotState.STALE).where(Snapshot.seed == seed.id).execute()
        Seed.update(stored=False).where(Seed.id == seed.id).execute()


def _adopt(
    seed: Seed, folder: Path, settings: Settings, progress: Callable[[SeedProgress], None], cancelled: Callable[[], bool]
) -> SeedFiles:
    def step(name: str, number: int, total: int) -> None:
        progress(SeedProgress(number, total, name, 0.0))

    return shipped.adopt(seed.id, seed.class_name, seed.version, folder, settings, step, cancelled)


def _end(seed: Seed, state: SeedState, error: DpeError) -> None:
    with catalog.write():
        Seed.update(state=state, ended_at=now(), problem=error.message, hint=error.hint).where(Seed.id == seed.id).execute()
        message = f"Seed {seed.class_name} v{seed.version} {state.value}: {error.message}"
        record(EventKind(f"seed.{state}"), message, class_name=seed.class_name, seed_id=seed.id, hint=error.hint)
