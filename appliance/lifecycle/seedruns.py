"""Building a seed as the catalog sees it: queued, building with its progress, then ready and promoted, failed or cancelled."""

import time
from dataclasses import dataclass

from appliance import catalog
from appliance.catalog import Class, Level, Seed, SeedState, now, record, seeds
from appliance.errors import DpeError
from appliance.scenario.load import Loaded
from appliance.seeds.build import SeedJob, SeedProgress, build
from appliance.settings import Settings

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


def run(seed: Seed, loaded: Loaded, settings: Settings) -> None:
    """Build one queued (or interrupted) seed to its end. The promoted seed is replaced only by one that booted and answered."""
    if seed.attempts >= BUILDS:
        _end(seed, SeedState.FAILED, DpeError(f"The build was cut off {BUILDS} times.", "Look at the engine's log, then build again."))
        return
    described = loaded.scenario.classes.get(seed.class_name)
    if described is None:
        _end(
            seed,
            SeedState.FAILED,
            DpeError(f"The scenario no longer has a class {seed.class_name}.", "Put it back, or withdraw the class."),
        )
        return
    with catalog.write():
        seed.state, seed.attempts, seed.started_at = SeedState.BUILDING, seed.attempts + 1, now()
        seed.log = str(settings.logs / "seeds" / f"{seed.class_name}-{seed.version}.log")
        seed.save()
        record("seed.building", f"Building seed {seed.class_name} v{seed.version}.", class_name=seed.class_name, seed_id=seed.id)

    def progress(step: SeedProgress) -> None:
        with catalog.write():
            Seed.update(task=step.task_name, task_number=step.task_number, task_total=step.task_total).where(Seed.id == seed.id).execute()

    cancelled = _Cancel(seed.id)
    try:
        files = build(SeedJob(seed.id, seed.class_name, seed.version, described, loaded.folder), settings, progress, cancelled)
    except DpeError as error:
        _end(seed, SeedState.CANCELLED if cancelled.wanted else SeedState.FAILED, error)
        return
    with catalog.write():
        paths = {"disk": str(files.disk), "kernel": str(files.kernel), "initrd": str(files.initrd), "cmdline": files.cmdline}
        Seed.update(state=SeedState.READY, ended_at=now(), files=paths, manifest=files.manifest, task="", problem="", hint="").where(
            Seed.id == seed.id
        ).execute()
        Class.update(failures=0, failing_until=None, problem="").where(Class.name == seed.class_name).execute()
        seeds.promote(seed)
        record(
            "seed.promoted",
            f"Seed {seed.class_name} v{seed.version} boots and answers: promoted.",
            class_name=seed.class_name,
            seed_id=seed.id,
        )


def _end(seed: Seed, state: SeedState, error: DpeError) -> None:
    with catalog.write():
        Seed.update(state=state, ended_at=now(), problem=error.message, hint=error.hint).where(Seed.id == seed.id).execute()
        level = Level.INFO if state is SeedState.CANCELLED else Level.ERROR
        message = f"Seed {seed.class_name} v{seed.version} {state.value}: {error.message}"
        record(f"seed.{state.value}", message, level=level, class_name=seed.class_name, seed_id=seed.id, hint=error.hint)
