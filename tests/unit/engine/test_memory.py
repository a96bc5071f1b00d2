"""The engine on a host whose memory really is used: what is made, what gives way, and what is never done to the host."""

import contextlib
from datetime import timedelta
from pathlib import Path

import pytest

from appliance import catalog
from appliance.catalog import Class, Event, MachineState, Reading, Request, RequestState, Seed, machines, memory, now, options
from appliance.catalog import seeds as seed_rows
from appliance.hypervisor.provider import HostFacts, Power, Stats
from appliance.readings import FIGURES, HOST, Store
from appliance.services import machines as verbs
from tests import world
from tests.unit.engine.fake import FakeProvider, settle

S = MachineState
EACH = 256 + 64
RUNNING, WAITING = EACH, 40  # MiB taken of the host: machines that run use all they may


class Host(FakeProvider):
    """1 GiB is kept of it, and there is memory for five machines beside."""

    def __init__(self) -> None:
        super().__init__(memory=1024 + 5 * EACH)
        self.others = 0  # MiB that something else uses
        self.lowest = self.memory

    def taken(self, id: str) -> int:
        return WAITING if self.domains[id].power is Power.PAUSED and id in self.forks else RUNNING

    def host(self) -> HostFacts:
        available = self.memory - self.others - sum(self.taken(id) for id in self.domains)
        self.lowest = min(self.lowest, available)
        return HostFacts("emulation", "it is a test", "fake", 2, self.memory, available, 100_000)

    def stats(self) -> list[Stats]:
        return [Stats(id, 10**9, 1, 256, 100, 0, 0, 0, 0, memory_private=self.taken(id), memory_shared=10) for id in self.domains]


@pytest.fixture
def provider():
    return Host()


@pytest.fixture
def forked(engine, opened, tmp_path) -> None:
    """A class whose machines wait as paused forks; three are wanted."""
    for name in ("small", "notebook"):
        opened.seeds.joinpath(name, "1").mkdir(parents=True)
    disk, *others = (str(opened.seeds / "small/1" / name) for name in ("disk.qcow2", "vmlinuz", "initrd"))
    Path(disk).write_bytes(b"of a test")
    Seed.update(files=dict(zip(("disk", "kernel", "initrd", "cmdline"), (disk, *others, "c"), strict=True))).execute()
    Class.update(fork=True, readiness="paused", buffer=3, maximum=40, per_person=40).execute()
    _look(engine, 8)


def _look(engine, times: int = 3) -> None:
    for _ in range(times):
        engine.schedule.hurry("readings")
        settle(engine, 4)


def states() -> dict[S, int]:
    return machines.counts().get("small", {})


def test_ready_machines_give_way_to_whatever_else_uses_the_host_and_come_back(engine, provider, forked):
    assert states() == {S.READY: 3}
    provider.others = provider.memory - 3 * WAITING - 700
    _look(engine)
    left = states().get(S.READY, 0)
    assert 0 <= left < 3
    assert provider.memory - provider.others - left * WAITING >= 768
    removed = [event.message for event in Event.select().where(Event.kind == "machine.reclaiming")]
    assert len(removed) == 3 - left
    assert all("memory is short" in message for message in removed)
    assert "the host's memory" in Class.get().limit_reason
    before = Event.select().count()
    _look(engine)
    assert states().get(S.READY, 0) == left, "and there it rests"
    assert Event.select().count() == before
    provider.others = 0
    _look(engine)
    assert states() == {S.READY: 3}
    assert Class.get().limit_reason == ""


def test_however_many_ask_the_host_keeps_its_reserve(engine, provider, forked, alice):
    for _ in range(7):
        verbs.request(alice, "small")
        settle(engine, 3)
        _look(engine, 1)
    assert states() == {S.IN_USE: 5}, "no buffer is kept that nobody could claim"
    assert provider.lowest >= 1024
    assert Request.select().where(Request.state == RequestState.WAITING).count() == 2
    assert verbs.offers(alice.account_id)[0].obstacle == verbs.ALL_GIVEN_OUT
    assert "may be handed out" in Class.get().limit_reason or "the host's memory" in Class.get().limit_reason
    verbs.release(alice, verbs.my_machines(alice.account_id)[0].id)
    _look(engine)
    assert states() == {S.IN_USE: 5}
    assert Request.select().where(Request.state == RequestState.WAITING).count() == 1


def test_more_may_be_handed_out_than_there_is_when_the_admin_says_so(engine, provider, forked, alice, monkeypatch):
    monkeypatch.setattr(provider, "taken", lambda _id: 100)  # machines that use a third of their memory
    with catalog.write():
        options.put("overcommit", 200)
    _look(engine)
    assert memory.allowed().limit == 10 * EACH
    for _ in range(12):
        verbs.request(alice, "small")
        settle(engine, 3)
        _look(engine, 1)
    assert states()[S.IN_USE] == 10
    assert provider.lowest >= 1024


def test_a_large_class_does_not_starve_beside_a_small_one(engine, provider, forked, alice, bob):
    world.machine_class("notebook", world.NOTEBOOK, buffer=1)
    world.seed("notebook", 1, promoted=True, files=seed_rows.promoted("small").files)
    Class.update(fork=True, readiness="paused").execute()
    _look(engine, 8)
    for _ in range(4):
        verbs.request(alice, "small")
        settle(engine, 3)
    asked = verbs.request(bob, "notebook")
    assert asked.state is RequestState.WAITING
    for _ in range(4):
        verbs.request(alice, "small")
        verbs.release(alice, verbs.my_machines(alice.account_id)[0].id)
        _look(engine, 4)
        if Request.get_by_id(asked.id).state is RequestState.GRANTED:
            break
    assert [machine.class_name for machine in verbs.my_machines(bob.account_id)] == ["notebook"]


def test_the_host_is_recorded(engine, provider, forked, alice):
    verbs.request(alice, "small")
    _look(engine)
    engine.controllers.recorder.record()
    with contextlib.closing(Store(engine.settings.readings)) as store:
        found = store.series(HOST, FIGURES, timedelta(hours=1), now()).mean
    last = {name: values[-1] for name, values in found.items()}
    assert (last["memory"], last["memory_allocatable"]) == (provider.memory, 5 * EACH)
    assert (last["memory_private"], last["memory_shared"]) == (RUNNING + 3 * WAITING, 40)
    assert last["memory_allocated"] == 4 * EACH
    assert last["memory_other"] == 0, "nothing but machines uses memory"
    assert {row.memory_private for row in Reading.select()} == {RUNNING, WAITING}
