"""Rates of machines: those of policy and admins are in force, whatever happens to a machine, and what changes is told."""

from datetime import UTC, datetime, timedelta

import pytest

from appliance import catalog
from appliance.catalog import Class, Event, Machine, machines, policies, timezone
from appliance.errors import BadInput, NotFound, Unavailable
from appliance.lifecycle.rates import of_class
from appliance.scenario.calendar import DAYS, Window
from appliance.scenario.rates import Rates
from appliance.services import machines as verbs
from appliance.services import moves, rates
from tests.unit.engine.fake import settle

pytestmark = pytest.mark.resources


def looked(engine):
    """The next look at rates is over."""
    engine.schedule.hurry("rates")
    settle(engine)


def say(engine, **values):
    """An admin changes the class's rates."""
    with catalog.write():
        policies.change(Class.get(), values)
    looked(engine)


def told():
    return [(one.message, one.data.get("before"), one.data.get("after")) for one in Event.select().where(Event.kind.contains("limited"))]


@pytest.fixture
def held(engine, alice) -> Machine:
    """A machine in use by alice."""
    settle(engine)
    id = verbs.request(alice, "small").machine_id
    settle(engine)
    return machines.by_id(id)


def test_a_policy_that_changes_is_in_force_at_once_and_told_once(engine, provider, held):
    say(engine, network_in=20)
    assert provider.store.rates[held.id] == Rates(network_in=20)
    looked(engine)
    nothing = {"network_in": 0, "network_out": 0, "disk_rate": 0, "disk_iops": 0}
    mine = (f"{held.name} is limited: in 20 Mbit/s.", nothing, nothing | {"network_in": 20})
    assert told().count(mine) == 1
    assert machines.by_id(held.id).rates_in_force == {"network_in": 20}
    say(engine, network_in=0)
    assert provider.store.rates[held.id] == Rates()
    assert (f"{held.name} is limited no more.", nothing | {"network_in": 20}, nothing) in told()
    looked(engine)
    assert not engine.controllers.limits.is_due()  # and costs nothing more


def test_an_admin_says_otherwise_of_one_machine_and_its_owner_may_not(engine, provider, held, alice, admin):
    say(engine, network_in=20, disk_rate=5)
    assert rates.change(admin, held.id, {"network_in": 0, "network_out": 7})
    assert not rates.change(admin, held.id, {"network_in": 0, "network_out": 7, "disk_rate": None})
    looked(engine)
    assert provider.store.rates[held.id] == Rates(network_out=7, disk_rate=5)
    assert {provider.store.rates[one.id] for one in machines.live() if one.id != held.id} == {Rates(network_in=20, disk_rate=5)}
    with pytest.raises(NotFound):
        rates.change(alice, held.id, {})
    for wrong in ({"network_in": -1}, {"network_in": 100_001}, {"speed": 3}):
        with pytest.raises(BadInput):
            rates.change(admin, held.id, wrong)
    assert rates.change(admin, held.id, {})
    looked(engine)
    assert provider.store.rates[held.id] == Rates(network_in=20, disk_rate=5)


def test_they_are_back_after_suspend_stop_and_whatever_took_them_away(engine, provider, held, alice):
    say(engine, network_out=9)
    for away, back in (("suspend", "resume"), ("stop", "start")):
        moves.plain(alice, held.id, away)
        settle(engine)
        assert held.id not in provider.store.rates
        moves.plain(alice, held.id, back)
        settle(engine)
        assert provider.store.rates[held.id] == Rates(network_out=9)
    before = len(told())
    provider.store.rates[held.id] = Rates()
    looked(engine)
    assert provider.store.rates[held.id] == Rates(network_out=9)
    assert len(told()) == before + 1


def test_a_host_that_cannot_has_machines_all_the_same_and_says_so_once(engine, provider, held):
    provider.fails["limit"] = Unavailable("The network cannot be limited.", "Look at the kernel.")
    say(engine, network_out=9)
    looked(engine)
    looked(engine)
    mine = [one for one in Event.select().where(Event.kind == "machine.not_limited") if one.machine_id == held.id]
    assert [one.message for one in mine] == [f"{held.name} is not limited as it is to be: The network cannot be limited."]
    assert rates.of_machine(machines.by_id(held.id)).problem == "The network cannot be limited."
    del provider.fails["limit"]
    looked(engine)
    assert rates.of_machine(machines.by_id(held.id)).problem == ""
    assert provider.store.rates[held.id] == Rates(network_out=9)


def test_a_window_of_the_calendar_says_it_while_it_holds(engine, provider, held):
    monday = datetime(2027, 6, 7, tzinfo=UTC)
    night = {"name": "Night", "days": ["mon"], "begin": "20:00", "end": "06:00", "network": 0}
    lessons = {"name": "Lessons", "days": ["mon"], "begin": "08:00", "end": "12:00", "network": 5}
    say(engine, network_in=20, disk_rate=3, windows=[Window.model_validate(one).model_dump(mode="json") for one in (night, lessons)])
    zone = timezone.current()
    for hour, found in (
        (7, Rates(20, 0, 3)),
        (8, Rates(5, 5, 3)),
        (11, Rates(5, 5, 3)),
        (12, Rates(20, 0, 3)),
        (20, Rates(0, 0, 3)),
        (29, Rates(0, 0, 3)),
        (30, Rates(20, 0, 3)),
    ):
        at = (monday.replace(tzinfo=zone) + timedelta(hours=hour)).astimezone(UTC)
        assert of_class(Class.get(), at) == found, hour
    always = [night | {"days": list(DAYS), "begin": "00:00", "end": "00:00", "network": 9}]
    say(engine, windows=[Window.model_validate(one).model_dump(mode="json") for one in always])
    assert provider.store.rates[held.id] == Rates(9, 9, 3)
    say(engine, windows=[])
    assert provider.store.rates[held.id] == Rates(20, 0, 3)
