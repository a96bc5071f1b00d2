"""When a synchronisation with the directory is due, and what the engine does with one; the directory itself is away here."""

from datetime import timedelta

import pytest

from appliance import catalog
from appliance.catalog import DirectoryRun, Event, RunState, machines, now, options
from appliance.engine import Engine
from appliance.lifecycle import batch, directoryruns
from appliance.people import secrets
from appliance.services import directory
from tests.unit.engine.fake import FakeProvider, in_place_of_the_playbook, settle

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
    assert (directoryruns.due() is not None) is is_due
    if state in (RunState.QUEUED, RunState.RUNNING):
        assert DirectoryRun.select().count() == 1, "it is that one, not another"


def test_without_a_clock_only_who_asks_gets_one(used, admin):
    directory.change(admin, NOBODY | {"minutes": 0}, "")
    _last(RunState.DONE, 10_000)
    assert directoryruns.due() is None
    directory.synchronise(admin)
    directory.synchronise(admin)
    assert DirectoryRun.select().where(DirectoryRun.state == RunState.QUEUED).count() == 1
    assert directoryruns.due() is not None


def test_none_is_due_while_the_directory_is_not_used(opened, admin):
    assert directoryruns.due() is None


def test_only_the_last_are_kept(used):
    with catalog.write():
        DirectoryRun.insert_many([{"state": RunState.DONE, "created_at": now()} for _ in range(150)]).execute()
    directoryruns.run(DirectoryRun.create())
    assert DirectoryRun.select().count() == directoryruns.KEPT


def test_the_engine_synchronises_beside_its_work(used, opened, small, monkeypatch):
    provider = FakeProvider()
    monkeypatch.setattr(batch, "build", in_place_of_the_playbook(provider))
    engine = Engine(opened, provider, loaded=None)
    with catalog.write():
        options.put("setup_done", True)
    _last(RunState.QUEUED, 0)
    try:
        settle(engine, ticks=2)
        run = DirectoryRun.get()
        assert (run.state, run.problem) == (RunState.FAILED, "Nothing listens at 127.0.0.1:1.")
        assert Event.select().where(Event.kind == "directory.failed").count() == 1
        assert sum(machines.counts()["small"].values()) == 2
    finally:
        engine.stop()
        engine.close()


def test_a_fault_of_our_own_ends_the_run_and_is_not_hidden(used, monkeypatch):
    def broken(*_):
        raise RuntimeError("a bug")

    monkeypatch.setattr(directoryruns.directory_tree, "read", broken)
    run = DirectoryRun.create()
    with pytest.raises(RuntimeError):
        directoryruns.run(run)
    assert DirectoryRun.get_by_id(run.id).state is RunState.FAILED
    assert directoryruns.due() is None, "it is not tried again at every tick"
