"""From rows and readings to the planner's numbers, and what the planner makes of them on a host with 9 GiB, of which 1 GiB is kept."""

import pytest

from appliance import catalog
from appliance.catalog import Class, Machine, MachineState, Reading, Seed, Snapshot, SnapshotState, memory, options
from appliance.hypervisor.provider import HostFacts
from appliance.lifecycle.sizing import Sizing
from appliance.pools.planner import plan

S = MachineState
EACH = 256 + 64


def facts(available: int = 9216, total: int = 9216) -> HostFacts:
    return HostFacts("emulation", "it is a test", "fake", 2, total, available, 100_000)


@pytest.fixture
def sizing(opened) -> Sizing:
    return Sizing(opened)


@pytest.fixture
def forked(small) -> Class:
    """The class small, whose seed has a snapshot."""
    with catalog.write():
        Snapshot.create(seed=Seed.get().id, state=SnapshotState.READY)
        Class.update(buffer=20, maximum=100, fork=True, readiness="paused").execute()
    return Class.get()


def put(machines: list[Machine], state: MachineState = S.READY, *, readiness: str = "paused", origin: str = "fork", taken=None) -> None:
    """Put machines into a state, `taken` (private, shared) MiB each."""
    for machine in machines:
        Machine.update(state=state, readiness=readiness, origin=origin).where(Machine.id == machine.id).execute()
        if taken:
            Reading.insert(
                machine=machine.id, cpu=0, memory_used=9, disk_rate=0, net_rate=0, memory_private=taken[0], memory_shared=taken[1]
            ).on_conflict_replace().execute()


def test_a_paused_fork_costs_what_was_measured_and_before_that_an_estimate(sizing, forked, ready):
    [demand], _ = sizing.look(facts())
    assert (demand.cost, demand.memory) == (EACH // 4, EACH)
    made = ready(2)
    put(made, taken=(20, 15))
    [demand], _ = sizing.look(facts())
    assert (demand.cost, demand.frees) == (35, 20)
    put(made, S.IN_USE, readiness="running")
    [demand], _ = sizing.look(facts())
    assert demand.cost == 35, "remembered while there is none to measure"


def test_what_is_not_forked_or_runs_costs_all_its_memory_and_cold_costs_none(sizing, forked, ready):
    for changes, cost in (({"fork": False}, None), ({"readiness": "running"}, None), ({"readiness": "cold"}, 0)):
        Class.update({"fork": True, "readiness": "paused", **changes}).execute()
        assert sizing.look(facts())[0][0].cost == cost
    Class.update(fork=True, readiness="paused").execute()
    Snapshot.update(state=SnapshotState.STALE).execute()
    assert sizing.look(facts())[0][0].cost is None


def test_the_pools_are_counted_by_how_they_wait(sizing, forked, ready):
    made = ready(6)
    put(made[:1], readiness="running")
    put(made[1:2], origin="boot")
    put(made[2:4])
    put(made[4:5], readiness="cold", origin="boot")
    put(made[5:], S.CREATING)
    pools = sizing.look(facts())[0][0].pools
    assert (pools.ready, pools.standing, pools.cold, pools.creation, pools.production) == (5, 2, 1, 1, 0)


def test_growth_that_is_still_due_to_held_machines_is_kept_free(sizing, forked, ready):
    """Ten are held and take 50 MiB each. What they share is theirs only once they write to it; at 200 % half of all is expected."""
    put(ready(10), S.IN_USE, readiness="running", taken=(50, 10))
    _, capacity = sizing.look(facts(available=8000))
    assert capacity.memory == 8000 - 1024 - 10 * (EACH - 50)
    assert capacity.room == 8192 - 10 * EACH
    options.put("overcommit", 200)
    _, capacity = sizing.look(facts(available=8000))
    assert capacity.memory == 8000 - 1024 - 10 * (EACH // 2 - 50)
    assert capacity.room == 2 * 8192 - 10 * EACH


def test_forks_made_since_the_last_reading_are_counted(sizing, forked, ready):
    put(ready(3), taken=(25, 15))
    put(ready(2))
    _, capacity = sizing.look(facts(available=8000))
    assert capacity.memory == 8000 - 1024 - 2 * 40


def test_the_limit_is_told_to_the_claim_and_follows_the_admin_and_the_host(sizing, forked, ready):
    sizing.look(facts())
    assert memory.allowed() == memory.Allowed(8192, 8192, 64)
    options.put("overcommit", 150)
    sizing.look(facts())
    assert memory.allowed() == memory.Allowed(12288, 12288, 64)
    options.put("overcommit", 100)
    # Something else uses the host: of 4000 MiB a quarter of the reserve stays free, and what machines take is theirs.
    put(ready(2), taken=(100, 0))
    sizing.look(facts(available=4000))
    assert memory.allowed() == memory.Allowed(4000 + 200 - 256, 8192, 64)
    sizing.look(facts(available=0))
    assert memory.allowed().limit == 0


def test_ready_machines_go_before_the_host_swaps_and_no_more_than_needed(sizing, forked, ready):
    put(ready(12), taken=(50, 10))
    low = facts(available=700)
    [decision] = plan(*sizing.look(low))
    assert decision.shed == 7, "324 MiB are missing, and each gives 50"
    assert "ready machines go before the host would swap" in decision.reason
    # The same reading says it once: what is on its way out is not in it yet.
    assert plan(*sizing.look(low))[0].shed == 0
    assert plan(*sizing.look(low))[0].create == 0
    leaving = list(Machine.select().limit(4))
    put(leaving, S.RECLAIMING)
    assert plan(*sizing.look(facts(available=700)))[0].shed == 3


def test_between_making_and_removing_there_is_room_to_breathe(sizing, forked, ready):
    put(ready(12), taken=(50, 10))
    for available in range(768, 1024 + 60, 4):
        [decision] = plan(*sizing.look(facts(available=available)))
        assert (decision.shed, decision.create) == (0, 0), available
    assert plan(*sizing.look(facts(available=1024 + 60)))[0].create == 1


def test_forty_paused_forks_stand_ready_where_six_booted_machines_would(sizing, forked, ready):
    """A host with memory for six machines of 512 MiB. That all forty can be claimed as well takes an overcommit of 700 %."""
    with catalog.write():
        spec = {**forked.spec, "size": {**forked.spec["size"], "memory": 512}}
        Class.update(spec=spec, buffer=40, fork=False).execute()
    total = 1024 + 6 * 576
    assert plan(*sizing.look(facts(total, total)))[0].create == 6
    Class.update(fork=True).execute()
    put(ready(1), taken=(40, 30))
    assert plan(*sizing.look(facts(total - 70, total)))[0].create == 5, "no more than could be claimed"
    options.put("overcommit", 700)
    assert plan(*sizing.look(facts(total - 70, total)))[0].create == 39


def test_what_a_reading_of_the_host_means(sizing, forked, ready):
    made = ready(3)
    put(made[:1], S.IN_USE, readiness="running", taken=(200, 30))
    put(made[1:2], taken=(30, 10))
    put(made[2:], readiness="cold", origin="boot")
    found = sizing.measure(facts(available=8000))
    assert (found.private, found.shared) == (230, 40)
    assert (found.allocated, found.allocatable) == (2 * EACH, 8000 + 230 - 256)
