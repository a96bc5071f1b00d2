"""Synchronisations with the directory, from being due to their end."""

import logging
import time
from datetime import timedelta

from appliance import catalog
from appliance.catalog import DirectoryRun, EventKind, RunState, now, record
from appliance.errors import Conflict, DpeError
from appliance.identity import directory_settings, directory_sync, directory_tree

log = logging.getLogger(__name__)

AGAIN = timedelta(minutes=5)  # after one that failed, unless the next is due earlier
KEPT = 100  # runs
TELL_EVERY = 0.5  # seconds


def due_run() -> DirectoryRun | None:
    """The synchronisation to begin now: one that a killed engine left, one somebody asked for, or the next in time."""
    if not directory_settings.is_on():
        return None
    waiting: DirectoryRun | None = (
        DirectoryRun.select().where(DirectoryRun.state.in_([RunState.QUEUED, RunState.RUNNING])).order_by(DirectoryRun.id).first()
    )
    if waiting is not None:
        return waiting
    minutes = directory_settings.entered()["minutes"]
    last = DirectoryRun.select().order_by(DirectoryRun.id.desc()).first()
    if last is not None:
        wait = timedelta(minutes=minutes)
        if not minutes or now() - last.created_at < (min(wait, AGAIN) if last.state is RunState.FAILED else wait):
            return None
    with catalog.write():
        return DirectoryRun.create()


def run(run: DirectoryRun) -> None:
    """Bring one to its end, good or bad."""
    with catalog.write():
        run.state, run.started_at = RunState.RUNNING, now()
        run.save(only=[DirectoryRun.state, DirectoryRun.started_at])
        DirectoryRun.delete().where(DirectoryRun.id <= run.id - KEPT).execute()
    told = 0.0

    def progress(step: str) -> None:
        nonlocal told
        if time.monotonic() - told > TELL_EVERY:
            told = time.monotonic()
            with catalog.write():
                DirectoryRun.update(step=step).where(DirectoryRun.id == run.id).execute()

    try:
        using = directory_settings.current()
        if using is None:
            raise Conflict("The directory was switched off.")
        tree = directory_tree.read_tree(*using, progress)
        counts = directory_sync.apply(tree, force=run.force)
    except directory_sync.TooMany as error:
        _failed(run, error, going=error.going)
    except DpeError as error:
        _failed(run, error)
    except Exception:
        _failed(run, DpeError("Something went wrong on our side.", "Nothing more was changed; the engine's log has the rest."))
        raise
    else:
        with catalog.write():
            DirectoryRun.update(state=RunState.DONE, ended_at=now(), step="", counts=counts, problems=tree.problems[:200]).where(
                DirectoryRun.id == run.id
            ).execute()


def _failed(run: DirectoryRun, error: DpeError, **counts: int) -> None:
    before = DirectoryRun.select().where(DirectoryRun.id < run.id).order_by(DirectoryRun.id.desc()).first()
    with catalog.write():
        DirectoryRun.update(state=RunState.FAILED, ended_at=now(), step="", problem=error.message, hint=error.hint, counts=counts).where(
            DirectoryRun.id == run.id
        ).execute()
        if before is None or before.problem != error.message:  # the same every hour would bury the rest
            record(EventKind.DIRECTORY_FAILED, f"The directory could not be synchronised: {error.message}", hint=error.hint)
