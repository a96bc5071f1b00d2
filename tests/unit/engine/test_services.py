"""Replicas of a service come, serve, drain and go, over a provider and an HAProxy that are only memory."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from appliance import catalog
from appliance.catalog import Class, Event, MachineState, Replica, ReplicaState, machines, now, policies, replicas
from appliance.catalog import seeds as seed_rows
from appliance.engine import Engine
from appliance.errors import Conflict
from appliance.readings import Kind, Subject
from appliance.services import machines as verbs
from tests import world
from tests.unit.engine.fake import settle
from tests.unit.engine.haproxy import FakeRuntime

pytestmark = pytest.mark.elastic

S = MachineState
SERVICE = {"name": "www.example.org", "path": "/", "sticky": False, "drain": 60, "connections": 100}


@pytest.fixture
def site(engine: Engine, small: Class) -> FakeRuntime:
    """A service of two replicas, three at most, whose HAProxy was started before the engine."""
    with catalog.write():
        small.spec = {**small.spec, "service": SERVICE}
        small.minimum, small.maximum, small.buffer = 2, 4, 1
        small.save()
    runtime = FakeRuntime(engine.settings)
    engine.controllers.balancer.runtime = runtime
    until(engine, lambda: len(engine.controllers.balancer.up) == 2)
    runtime.calls.clear()
    return runtime


def until(engine: Engine, condition: Callable[[], bool], most: int = 40) -> None:
    """Tick until it is so."""
    for _ in range(most):
        if condition():
            return
        settle(engine, 1)
    raise AssertionError(f"not after {most} ticks: {[(one.number, one.state, one.up) for one in replicas.all()]}, {machines.counts()}")


def scale(count: int, engine: Engine) -> None:
    """Want so many replicas, until so many serve, and HAProxy was told."""
    with catalog.write():
        Class.update(minimum=count).execute()
    until(
        engine,
        lambda: (
            len(serving()) == count
            and {one.machine_id for one in replicas.all() if one.state == "serving"} == engine.controllers.balancer.up
        ),
    )


def is_gone(id: str) -> Callable[[], bool]:
    return lambda: machines.by_id(id).state is S.RETIRED  # type: ignore[union-attr]


def serving() -> list[int]:
    return [one.number for one in replicas.all() if one.state is ReplicaState.SERVING]


def goes_first() -> tuple[str, int]:
    """The machine of the replica that goes first, the oldest one's, and its number: that of whichever was ready first."""
    oldest = min(replicas.all(), key=lambda one: one.machine.number)
    return oldest.machine_id, oldest.number


def kinds() -> list[str]:
    return [row.kind for row in Event.select().order_by(Event.id) if row.kind.startswith("replica.")]


def test_a_service_has_its_minimum_of_running_replicas_that_nobody_can_hold(site, engine, provider, alice):
    assert serving() == [1, 2]
    assert all(one.machine.readiness == "running" for one in replicas.all())
    there = {one.address for one in site.servers["small"].values() if not one.is_off}
    assert there == {engine.settings.address(one.machine.slot) for one in replicas.all()}
    assert kinds() == ["replica.serving", "replica.serving"]
    with pytest.raises(Conflict, match="is a service"):
        verbs.request(alice, "small")
    assert verbs.offers(alice.account_id) == []


def test_it_is_scaled_out_and_in_and_drains_first(site, engine):
    scale(4, engine)
    assert serving() == [1, 2, 3, 4]
    assert "reload" not in site.calls
    first, number = goes_first()
    site.change("small", number, sessions=2)
    scale(3, engine)
    assert replicas.of_machine(first).state is ReplicaState.DRAINING
    assert machines.by_id(first).state is S.READY
    assert site.servers["small"][number].is_draining
    site.change("small", number, sessions=0)
    until(engine, is_gone(first))
    assert serving() == sorted({1, 2, 3, 4} - {number})
    assert [call for call in site.calls if call.endswith(f" {number}")] == [f"drain {number}", f"stop {number}", f"take out {number}"]


def test_one_that_drains_is_taken_back_before_another_is_made(site, engine):
    scale(3, engine)
    _, number = goes_first()
    site.change("small", number, sessions=1)
    scale(2, engine)
    assert serving() == sorted({1, 2, 3} - {number})
    made = len(machines.live())
    scale(3, engine)
    assert serving() == [1, 2, 3]
    assert len(machines.live()) == made
    assert site.calls[-1] == f"go on {number}"


def test_what_is_not_done_by_the_deadline_is_cut_off(site, engine):
    scale(3, engine)
    first, number = goes_first()
    site.change("small", number, sessions=5)
    scale(2, engine)
    with catalog.write():
        Replica.update(deadline=now() - timedelta(seconds=1)).where(Replica.machine == first).execute()
    until(engine, is_gone(first))
    assert "5 requests were cut off" in Event.get(Event.kind == "replica.drained").message


def test_another_seed_replaces_one_at_a_time_and_none_goes_before_another_serves(site, engine):
    before = {one.machine_id for one in replicas.all()}
    world.seed("small", 2, promoted=True)
    least = []

    def is_replaced() -> bool:
        least.append(len(serving()))
        there = {one.machine_id for one in replicas.all()}
        return len(there) == 2 and not before & there

    until(engine, is_replaced)
    assert min(least) == 2
    assert {one.machine.seed_id for one in replicas.all()} == {seed_rows.promoted("small").id}


def test_nothing_is_taken_away_while_haproxy_or_its_process_before_may_still_send_there(site, engine):
    scale(3, engine)
    site.away = True
    with catalog.write():
        Class.update(minimum=2).execute()
    settle(engine, 4)
    assert len(machines.live()) == 3
    site.away, site.reloading = False, True
    settle(engine, 4)
    assert len(machines.live()) == 3
    site.reloading = False
    until(engine, lambda: len(machines.live()) == 2)


def test_an_haproxy_that_was_started_anew_has_its_members_and_no_one_elses(site, engine):
    known = {one.number: engine.settings.address(one.machine.slot) for one in replicas.all()}
    site.start()
    assert {number: one.address for number, one in site.servers["small"].items() if not one.is_off} == known
    site.change("small", 3, address="10.9.9.9", is_off=False)  # whoever said so
    settle(engine, 2)
    assert site.servers["small"][3].is_off


def test_a_machine_that_goes_by_another_way_is_taken_out(site, engine):
    first = replicas.all()[0]
    with catalog.write():
        machines.change(first.machine_id, {S.READY}, S.FAILED)
    until(engine, lambda: len(engine.controllers.balancer.up) == 2 and is_gone(first.machine_id)())
    assert first.machine_id not in {one.machine_id for one in replicas.all()}
    assert "take out 1" in site.calls
    assert "replica.lost" in kinds()


def test_a_replica_that_does_not_answer_is_told_of_and_replaced_one_at_a_time(site, engine):
    first, second = replicas.all()
    site.change("small", 1, up=False, since=5)
    settle(engine, 3)
    assert not replicas.of_machine(first.machine_id).up
    site.change("small", 1, up=False, since=61)
    site.change("small", 2, up=False, since=61)
    settle(engine, 1)
    assert [machines.by_id(one.machine_id).state is S.READY for one in (first, second)].count(False) == 1
    site.change("small", 2, up=True, since=0)
    until(engine, lambda: len(serving()) == 2 and "replica.replaced" in kinds())
    assert {"replica.down", "replica.replaced"} <= set(kinds())


def test_one_that_an_admin_removes_drains_and_goes_whatever_is_wanted(site, engine, admin):
    first = replicas.all()[0].machine_id
    verbs.release(admin, first)
    assert replicas.of_machine(first).state is ReplicaState.DRAINING
    until(engine, lambda: is_gone(first)() and len(serving()) == 2)


def test_a_class_that_is_closed_or_no_service_any_more_serves_nobody(site, engine, small):
    with catalog.write():
        Class.update(enabled=False).execute()
    until(engine, lambda: machines.live() == [])
    assert serving() == []
    with catalog.write():
        Class.update(spec={**Class.get().spec, "service": None}).execute()
    settle(engine, 4)
    assert site.servers == {}
    assert not engine.controllers.balancer.is_due()


def test_what_it_did_is_read_over_time(site, engine):
    balancer, moment = engine.controllers.balancer, now()
    balancer.figures(moment)
    site.change("small", 1, requests=30)
    settle(engine, 1)
    classes, of_machines = balancer.figures(moment + timedelta(seconds=10))
    assert classes["small"] == {
        "requests": 3.0, "requests_failed": 0.0, "latency": 0.02, "requests_queued": 0, "replicas": 2, "replicas_wanted": 2,
    }  # fmt: skip
    assert sorted(figures["requests"] for figures in of_machines.values()) == [0.0, 3.0]
    site.process = "another"
    settle(engine, 1)
    assert balancer.figures(moment + timedelta(seconds=20))[0]["small"]["requests"] is None


def test_rules_over_its_requests_scale_it(site, engine):
    rule = {"name": "Load", "metric": "requests", "minutes": 1, "each": 10, "most": 4, "cooldown_up": 0}
    with catalog.write():
        policies.change(Class.get(), {"rules": [rule]})
    store = engine.controllers.rules.store
    store.record(now(), {Subject(Kind.CLASS, "small"): {"requests": 35.0}})
    engine.schedule.hurry("rules")
    until(engine, lambda: len(serving()) == 4)
    assert engine.controllers.balancer.wanted == {"small": 4}
    assert "35" in Event.get(Event.kind == "class.scaled").message
