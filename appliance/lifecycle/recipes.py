"""Recipes, kept going: built when somebody waits for one, refused when it cannot be, kept ready when many ask, and gone when nobody does.

What is to be done is read from the catalog each time, so that a kill at any point changes nothing.
"""

import logging
from dataclasses import dataclass
from datetime import datetime, timedelta

from appliance import catalog
from appliance.catalog import (
    Class,
    EventKind,
    Request,
    RequestState,
    Seed,
    SeedState,
    class_rows,
    now,
    options,
    outgoing_mail,
    policies,
    recipes,
    record,
    runs,
    scenarios,
    seeds,
)
from appliance.catalog.recipes import Use
from appliance.errors import DpeError
from appliance.scenario.load import Loaded, load
from appliance.scenario.schema import ClassSpec
from appliance.seeds import recipe
from appliance.settings import Settings

log = logging.getLogger(__name__)

LATELY = timedelta(days=14)
OFTEN = 2  # requests lately, from which on one is kept ready
ENDED = (SeedState.FAILED, SeedState.CANCELLED)


def is_due() -> bool:
    """Whether somebody waits for a recipe that is neither there nor being built."""
    return bool(recipes.lacking())


def build_wanted() -> None:
    """Queue what is waited for; who waited for a build that failed is told why, and waits no longer."""
    for name in recipes.lacking():
        with catalog.write():
            last = recipes.last_build(name)
            if last is not None and last.state in ENDED and last.ended_at is not None:
                _refuse(name, last, last.ended_at)
            if recipes.waiting_since(name, now()):
                seed = recipes.queue(name)
                message = f"Seed {name} v{seed.version} is built: somebody chose it."
                record(EventKind.SEED_QUEUED, message, class_name=name, seed_id=seed.id)


def _refuse(name: str, seed: Seed, ended_at: datetime) -> None:
    """Everybody who asked before the build failed."""
    for asked in recipes.waiting_since(name, ended_at):
        title = asked.machine_class.spec["title"]
        reason = f"{title} could not be built: {seed.problem} {seed.hint}".strip()
        Request.update(state=RequestState.REFUSED, ended_at=now(), reason=reason).where(Request.id == asked.id).execute()
        runs.cancel(request_id=asked.id)
        if asked.account_id is not None:
            outgoing_mail.enqueue_mail([asked.account_id], f"recipe-{asked.id}", f"{title} could not be built", reason, "/")


def described(seed: Seed, loaded: Loaded) -> ClassSpec | None:
    """The class that a seed is built for, as the scenario has it or as it was chosen of one that it has."""
    found = recipes.of_class(seed.class_name)
    if found is None:
        return loaded.scenario.classes.get(seed.class_name)
    if found.base_name not in loaded.scenario.classes:
        return None
    return ClassSpec.model_validate(Class.get_by_id(seed.class_name).spec)


# -- what is used much, and what is not --------------------------------------------------------------


def tidy(settings: Settings) -> None:
    """Keep one ready of what is asked for often, build anew what the scenario makes otherwise by now, remove the seeds of what nobody asks for, or
    that take too much room, and forget what nothing is left of."""
    moment, taken, settings = now(), 0, options.chosen(settings)
    try:
        loaded = load(scenarios.lay_out(settings), anywhere=True)
    except DpeError as error:
        log.warning("recipes are left as they are: %s", error)
        return
    for use in reversed(recipes.uses(moment - LATELY)):  # used last first
        taken += use.bytes
        _keep(_Judged(
            use,
            is_old=not Class.get_by_id(use.base).enabled or moment - use.used_at > timedelta(days=settings.recipe_days),
            is_over=taken > settings.recipe_space << 30,
            is_outdated=_is_outdated(use, loaded),
        ))  # fmt: skip


@dataclass(frozen=True)
class _Judged:
    """A recipe, and what is to be thought of it."""

    use: Use
    is_old: bool  # nobody asked for it lately, or may ask any more
    is_over: bool  # others that are asked for more take all the room
    is_outdated: bool  # the scenario would make another seed by now

    @property
    def is_asked_often(self) -> bool:
        return self.use.asked >= OFTEN and not self.is_old and not self.is_over

    @property
    def why(self) -> str:
        """Why its seed should go; empty when it should not."""
        if self.is_old:
            return "nobody asked for it lately"
        if self.is_over:
            return "others are asked for more, and it took room"
        return "the scenario has changed since" if self.is_outdated else ""


def _is_outdated(use: Use, loaded: Loaded) -> bool:
    seed = seeds.by_id(use.seed_id) if use.seed_id is not None else None
    return seed is not None and not is_current(seed, loaded)


def is_current(seed: Seed, loaded: Loaded) -> bool:
    """Whether the scenario would still make this seed of a recipe."""
    spec = described(seed, loaded)
    return spec is not None and seed.manifest.get("recipe") == recipe.digest(spec, loaded.folder)


def _keep(found: _Judged) -> None:
    use = found.use
    with catalog.write():
        mine, machine_class = recipes.of_class(use.class_name), Class.get_by_id(use.class_name)
        assert mine is not None
        wanted = min(int(found.is_asked_often), machine_class.maximum)
        if machine_class.buffer != wanted:
            policies.follow_base(mine, buffer=wanted)
        if seeds.unfinished(use.class_name):
            return
        if found.is_outdated and found.is_asked_often:
            recipes.queue(use.class_name)
        elif use.open or use.live:
            return
        elif use.seed_id is not None and found.why:
            seeds.withdraw(use.class_name)
            message = f"The seed of {use.class_name} is removed: {found.why}."
            record(EventKind.SEED_REMOVED, message, class_name=use.class_name, seed_id=use.seed_id)
        elif found.is_old and not class_rows.left(use.class_name):
            class_rows.delete(use.class_name)
            record(EventKind.CLASS_DELETED, f"{use.class_name}, which somebody chose once, is forgotten.", class_name=use.class_name)
