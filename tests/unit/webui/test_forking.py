"""What the pages say of forking, and what is done about it there."""

from datetime import timedelta
from html import unescape

import pytest

from appliance import catalog
from appliance.catalog import Class, Machine, MachineState, Request, Seed, Snapshot, SnapshotState, now, policies
from tests import world
from tests.unit.webui.conftest import Browser
from webui import format

pytestmark = pytest.mark.fork

CLASS = "/admin/classes/notebook"
BOOTED = "booted for now, not forked"


def notebook() -> Class:
    return Class.get_by_id("notebook")


def fail() -> Snapshot:
    """The snapshot of the notebook's seed fails instead."""
    seed = Seed.get(Seed.machine_class == "notebook", Seed.promoted == True)  # noqa: E712
    Snapshot.update(state=SnapshotState.STALE).where(Snapshot.seed == seed.id).execute()
    return world.snapshot(seed, SnapshotState.FAILED)


def test_the_class_page_says_how_machines_are_made(grace: Browser) -> None:
    Class.update(forked=41, fork_failed=2).where(Class.name == "notebook").execute()
    page = grace.get(CLASS).text
    for words in ("Forked</strong> from the snapshot of", "412 MiB", "QEMU 10.0.2", "41 machines", "2 machines"):
        assert words in page
    Class.update(fork_failures=2, fork_problem="It does not answer.").where(Class.name == "notebook").execute()
    assert "The last 2 forks failed" in grace.get(CLASS).text
    taking = {"state": SnapshotState.BUILDING, "step": "booting the seed", "created_at": now()}
    Snapshot.update(taking).where(Snapshot.state == SnapshotState.READY).execute()
    page = grace.live(CLASS).text
    assert "booting the seed" in page
    assert "data-since" in page.split('id="making"')[1]
    Snapshot.update(state=SnapshotState.STALE).execute()
    assert "waiting for its turn" in grace.get(CLASS).text
    Class.update(fork=False).execute()
    assert "Forking is switched off for this class" in grace.get(CLASS).text
    Class.update(fork=True, enabled=False).execute()
    assert "is taken when you open it" in grace.get(CLASS).text
    Seed.update(promoted=False).execute()
    Class.update(enabled=True).execute()
    assert "once a seed has been built and promoted" in grace.get(CLASS).text


@pytest.mark.parametrize("path", ["/admin/", "/admin/classes/", CLASS])
def test_a_class_that_boots_for_now_says_so_with_reason_and_remedy(grace: Browser, path: str) -> None:
    assert BOOTED not in grace.get(path).text
    failed = fail()
    page = grace.get(path).text
    assert page.count(BOOTED) == 1
    for words in (failed.problem, failed.hint, "Another snapshot is tried in", "Try forking again", f"{CLASS}/fork-again"):
        assert words in page
    assert grace.post(f"{CLASS}/fork-again").status_code == 303
    assert Snapshot.get_by_id(failed.id).retry_at <= now()
    assert "Another snapshot is tried in a moment." in grace.get(path).text


@pytest.mark.badinput
def test_what_need_not_be_tried_again(grace: Browser) -> None:
    grace.get(CLASS)
    assert grace.post(f"{CLASS}/fork-again").status_code == 409
    assert grace.post("/admin/classes/none/fork-again").status_code == 404


def test_how_machines_are_made_is_changed(grace: Browser) -> None:
    assert "side channel" in grace.get(f"{CLASS}/making").text
    assert grace.post(f"{CLASS}/making", {"readiness": "cold", "memory_most": "0"}).status_code == 303
    assert (notebook().fork, notebook().readiness) == (False, "cold")
    assert grace.post(f"{CLASS}/making", {"fork": "yes", "readiness": "running", "memory_most": "2048"}).status_code == 303
    assert (notebook().fork, notebook().readiness) == (True, "running")
    assert policies.memory_room(notebook()) == 1024
    assert grace.post(f"{CLASS}/making", {"readiness": "cold", "memory_most": "512"}).status_code == 400
    assert 'value="running" required aria-describedby="h-running" checked' in grace.get(f"{CLASS}/making").text


@pytest.mark.badinput
@pytest.mark.parametrize("wrong", [{"readiness": "hot"}, {"readiness": ""}, {}])
def test_a_readiness_that_does_not_exist(grace: Browser, wrong: dict[str, str]) -> None:
    grace.get(CLASS)
    answer = grace.post(f"{CLASS}/making", {"memory_most": "0", **wrong})
    assert answer.status_code == 400
    form = unescape(answer.text).split('id="change-making"')[1]
    assert "Choose paused, running or cold." in form
    assert 'name="fork" value="yes" aria' in form, "what was switched off came back on"
    assert (notebook().fork, notebook().readiness) == (True, "paused")


@pytest.mark.badinput
def test_only_an_admin_and_only_a_class_that_is_there(grace: Browser, ada: Browser) -> None:
    grace.get(CLASS)
    assert grace.post("/admin/classes/none/making", {"readiness": "hot"}).status_code == 404
    assert grace.post("/admin/classes/none/making", {"readiness": "cold"}).status_code == 404
    fail()
    for path in ("making", "fork-again"):
        assert ada.post(f"{CLASS}/{path}", {"readiness": "cold"}).status_code == 403
        assert grace.post(f"{CLASS}/{path}", {"readiness": "cold"}, csrf=False).status_code == 400
    assert notebook().readiness == "paused"


def test_a_seeds_snapshots(grace: Browser) -> None:
    seed = Seed.get(Seed.machine_class == "notebook", Seed.promoted == True)  # noqa: E712
    address = f"/admin/seeds/{seed.id}"
    page = grace.get(address).text
    for words in ("no longer used", "hypervisor was QEMU 10.0.1", "pc-q35-10.0", "412 MiB", "removed"):
        assert words in page
    fail()
    page = grace.get(address).text
    for words in ("3 forks in a row failed", "Look at the log of the hypervisor.", "Tried 2 times; again in"):
        assert words in page
    older = Seed.get(Seed.machine_class == "notebook", Seed.version == 1)
    assert "is taken when this version is promoted" in grace.get(f"/admin/seeds/{older.id}").text
    Class.update(fork=False).execute()
    assert "forking is switched off" in grace.get(f"/admin/seeds/{older.id}").text


def test_a_machine_says_how_it_was_made_and_how_it_waits(grace: Browser) -> None:
    machine = Machine.select().where(Machine.state == MachineState.READY).get()
    address = f"/admin/machines/{machine.id}"
    page = grace.get(address).text
    for words in (", in 0.4 s", "Forked from", "paused: goes on"):
        assert words in page
    assert "forked, paused" in grace.get("/admin/machines/").text
    Machine.update(origin="boot", readiness="running").where(Machine.id == machine.id).execute()
    assert "Booted from its seed" in grace.get(address).text
    assert "booted, running" in grace.get("/admin/machines/").text
    Machine.update(readiness="cold").where(Machine.id == machine.id).execute()
    assert "Its disk only" in grace.get(address).text


def test_who_waits_for_a_fork_is_told_a_moment(grace: Browser, ada: Browser) -> None:
    Machine.update(state=MachineState.RETIRED).where(Machine.state.in_([MachineState.READY, MachineState.CREATING])).execute()
    with catalog.write():
        Machine.update(ready_at=Machine.created_at).where(Machine.machine_class == "notebook").execute()
        Request.delete().execute()
    assert "None is ready; a moment, you will be number 1" in ada.get("/").text
    assert [format.roughly(timedelta(seconds=seconds)) for seconds in (0.3, 8, 240)] == ["a moment", "about 10 seconds", "about 4 minutes"]


def test_setting_up_waits_for_the_snapshot_too(grace: Browser) -> None:
    Seed.delete().where(Seed.state != catalog.SeedState.READY).execute()
    Snapshot.update(state=SnapshotState.BUILDING, step="booting the seed").where(Snapshot.state == SnapshotState.READY).execute()
    page = grace.get("/setup/progress").text
    assert "The appliance is getting ready" in page
    assert "booting the seed" in page
    Snapshot.update(state=SnapshotState.READY).where(Snapshot.state == SnapshotState.BUILDING).execute()
    page = grace.get("/setup/progress").text
    assert "The appliance is ready" in page
    assert "machines are forked from it" in page


def test_events_of_snapshots_are_found(grace: Browser) -> None:
    with catalog.write():
        catalog.record("snapshot.failed", "The snapshot of notebook v2 could not be taken.", level=catalog.Level.ERROR)
    assert "could not be taken" in grace.get("/admin/events/?kind=snapshot&level=error").text
    assert "could not be taken" not in grace.get("/admin/events/?kind=seed").text
