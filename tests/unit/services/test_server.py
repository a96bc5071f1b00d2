"""What this server can hold: the sentence is true when the planner itself, with so many people waiting, makes so many machines."""

from collections.abc import Callable
from dataclasses import asdict, replace

import pytest

from appliance import catalog
from appliance.catalog import Actor, Class, Machine, MachineState, Reading, Request, RequestState, memory, options
from appliance.hypervisor.provider import HostFacts
from appliance.lifecycle.sizing import Sizing
from appliance.pools.planner import plan
from appliance.services import server
from appliance.settings import Settings
from tests import world

FACTS = HostFacts("kvm", "A guest ran in it.", "fake", 4, memory=16384, memory_available=15000, disk_free=100_000)


def made_by_the_planner(settings: Settings, facts: HostFacts, alice: Actor, people: int = 400) -> int:
    with catalog.write():
        Class.update(maximum=10_000, buffer=0).where(Class.name == "small").execute()
        for _ in range(people):
            Request.create(account=alice.account_id, machine_class="small", state=RequestState.WAITING, hit=False)
    demands, capacity = Sizing(settings).look(facts)
    (decision,) = plan(demands, capacity)
    return decision.create


@pytest.mark.parametrize(
    ("changed", "of_settings", "overcommit", "binds"),
    [
        ({}, {}, 100, "memory"),
        ({"memory_available": 6000}, {}, 100, "memory"),
        ({"memory_available": 800}, {}, 100, "memory"),
        ({}, {"slots": 50}, 300, "slots"),
        ({}, {"slots": 400}, 200, "memory"),
        ({"disk_free": 7000}, {}, 100, "disk"),
        ({"disk_free": 100}, {}, 100, "disk"),
    ],
)
def test_the_sentence_is_what_the_planner_does(
    small: Class, alice: Actor, opened: Settings, changed: dict[str, int], of_settings: dict[str, int], overcommit: int, binds: str
) -> None:
    settings = replace(opened, **({"slots": 400} | of_settings))
    facts = replace(FACTS, **changed)
    with catalog.write():
        options.put("overcommit", overcommit)
    world.engine(asdict(facts))
    [told] = server.capacity(settings)
    assert told.holds.binds == binds
    assert told.holds.count == made_by_the_planner(settings, facts, alice)
    number = told.holds.count or "no"
    assert told.words == f"This server can hold {number} small machines."
    # And whoever is given one may have it, up to the last.
    assert told.holds.count * (256 + 64) <= memory.allowed().limit


def test_machines_that_are_there_change_nothing(
    small: Class, alice: Actor, opened: Settings, ready: Callable[[int], list[Machine]]
) -> None:
    settings = replace(opened, slots=400)
    world.engine(asdict(FACTS))
    [before] = server.capacity(settings)
    for machine in ready(5):
        with catalog.write():
            Machine.update(state=MachineState.IN_USE, owner=alice.account_id).where(Machine.id == machine.id).execute()
            Reading.create(machine=machine.id, cpu=0, memory_used=200, memory_private=180, memory_shared=0, disk_rate=0.0, net_rate=0.0)
    facts = replace(FACTS, memory_available=FACTS.memory_available - 5 * 180)
    world.engine(asdict(facts))
    assert server.capacity(settings)[0].holds.memory == before.holds.memory
    assert made_by_the_planner(settings, facts, alice) == before.holds.count - 5


def test_what_ends_first_is_named_with_how_far_the_others_go(small: Class, opened: Settings) -> None:
    world.engine(asdict(FACTS))
    [told] = server.capacity(replace(opened, slots=10))
    assert told.words == "This server can hold 10 small machines."
    assert told.why == ("What ends first is addresses and ports (the setting slots); memory would do for 43, the disk would do for 191.")


def test_seeds_that_are_still_to_be_built_have_their_room(opened: Settings) -> None:
    world.machine_class("notebook", world.NOTEBOOK)
    world.engine({**asdict(FACTS), "disk_free": 8192})
    [told] = server.capacity(opened)
    assert told.holds.disk == (8192 - 2048 - server.SEED) // 512
    assert told.words == "This server can hold 6 notebooks."


def test_status_needs_nobody_but_says_who_does_not_answer(opened: Settings) -> None:
    now = server.status(opened)
    assert now.memory > 0
    assert now.uptime.total_seconds() > 0
    assert now.problem is not None
    assert now.parts == []
    assert "dpe-host" in now.problem.message
