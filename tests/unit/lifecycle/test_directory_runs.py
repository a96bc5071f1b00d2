"""When a synchronisation with the directory is due, and how one ends; the directory itself is away here."""

from datetime import timedelta

import pytest

from appliance import catalog
from appliance.catalog import DirectoryRun, RunState, now
from appliance.identity import secrets
from appliance.lifecycle import directory_runs
from appliance.services import directory

NOBODY = {"servers": ["127.0.0.1:1"], "base": "dc=example,dc=org", "minutes": 60}


@pytest.fixture
def used(opened, admin):
    """A directory that is used, but is away; its first synchronisation is over."""
    secrets.open(opened.web_secret)
    directory.change(admin, NOBODY, "")
    DirectoryRun.update(state=RunState.DONE).execute()


def _last(state: RunState, minutes: float) -> None:
    with catalog.write():
        DirectoryRun.update(state=state, created_at=now() - timedelta(minutes=minutes)).execute()


@pytest.mark.parametrize(
    ("state", "minutes", "is_due"),
    [
        (RunState.DONE, 59, False),
        (RunState.DONE, 61, True),
        (RunState.FAILED, 4, False),
        (RunState.FAILED, 6, True),
        (RunState.QUEUED, 0, True),
        (RunState.RUNNING, 0, True),  # its engine was killed
    ],
)
def test_when_the_next_is_due(used, state, minutes, is_due):
    _last(state, minutes)
    assert (directory_runs.due_run() is not None) is is_due
    if state in (RunState.QUEUED, RunState.RUNNING):
        assert DirectoryRun.select().count() == 1, "it is that one, not another"


def test_without_a_clock_only_who_asks_gets_one(used, admin):
    directory.change(admin, NOBODY | {"minutes": 0}, "")
    _last(RunState.DONE, 10_000)
    assert directory_runs.due_run() is None
    directory.synchronise(admin)
    directory.synchronise(admin)
    assert DirectoryRun.select().where(DirectoryRun.state == RunState.QUEUED).count() == 1
    assert directory_runs.due_run() is not None


def test_none_is_due_while_the_directory_is_not_used(opened, admin):
    assert directory_runs.due_run() is None


def test_only_the_last_are_kept(used):
    with catalog.write():
        DirectoryRun.insert_many([{"state": RunState.DONE, "created_at": now()} for _ in range(150)]).execute()
    directory_runs.run(DirectoryRun.create())
    assert DirectoryRun.select().count() == directory_runs.KEPT


def test_a_fault_of_our_own_ends_the_run_and_is_not_hidden(used, monkeypatch):
    def broken(*_):
        raise RuntimeError("a bug")

    monkeypatch.setattr(directory_runs.directory_tree, "read_tree", broken)
    run = DirectoryRun.create()
    with pytest.raises(RuntimeError):
        directory_runs.run(run)
    assert DirectoryRun.get_by_id(run.id).state is RunState.FAILED
    assert directory_runs.due_run() is None, "it is not tried again at every tick"
