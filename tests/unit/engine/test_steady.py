"""Which machines need nothing, as long as the hypervisor has them as they should be; and who is served before anybody looks."""

import pytest

from appliance.catalog import Machine, MachineState, machines
from appliance.hypervisor.provider import MachineFound, Power
from appliance.services import machines as verbs
from tests.unit.engine.fake import settle

S = MachineState


def touched(engine, provider, id: str) -> set[str]:
    """What one tick does to the machine."""
    provider.calls.clear()
    settle(engine, 1)
    return {verb for verb, of in provider.calls if of == id}


@pytest.mark.parametrize(
    ("readiness", "fine"),
    [("running", {Power.RUNNING}), ("paused", {Power.RUNNING, Power.PAUSED}), ("cold", {Power.OFF})],
)
def test_a_ready_machine_is_left_alone_when_it_waits_as_its_readiness_says(engine, provider, readiness, fine):
    settle(engine)
    id = next(iter(provider.domains))
    Machine.update(readiness=readiness).where(Machine.id == id).execute()
    for power in Power:
        provider.domains[id] = MachineFound(id, "x", power)
        assert bool(touched(engine, provider, id)) == (power not in fine), power


@pytest.mark.parametrize("power", [Power.PAUSED, Power.OFF])
def test_a_machine_in_use_runs_however_it_waited(engine, provider, alice, power):
    settle(engine)
    id = verbs.request(alice, "small").machine_id
    settle(engine)
    Machine.update(readiness="cold" if power is Power.OFF else "paused").where(Machine.id == id).execute()
    provider.domains[id] = MachineFound(id, "x", power)
    assert "start" in touched(engine, provider, id)


def test_a_cold_machine_needs_its_disk_but_no_domain(engine, provider):
    settle(engine)
    id = next(iter(provider.domains))
    Machine.update(readiness="cold").where(Machine.id == id).execute()
    del provider.domains[id]
    assert not touched(engine, provider, id)
    provider.files.discard(id)
    settle(engine, 1)
    assert machines.by_id(id).state is S.READY
    assert id in provider.files
    assert id not in provider.domains


def test_a_machine_is_handed_over_before_the_look_at_the_hypervisor(engine, provider, alice, monkeypatch):
    settle(engine)
    id = verbs.request(alice, "small").machine_id
    look, order = provider.list, []

    def slow_look():
        order.append(machines.by_id(id).state)
        return look()

    submit = engine.jobs.submit

    def submit_and_wait(queue, key, *rest, **kwargs):
        submit(queue, key, *rest, **kwargs)
        for job in engine.jobs.under_way():
            job.result(10)

    monkeypatch.setattr(provider, "list", slow_look)
    monkeypatch.setattr(engine.jobs, "submit", submit_and_wait)
    engine.tick()
    assert order == [S.IN_USE]


def test_nobody_is_handed_a_machine_while_the_hypervisor_is_away(engine, provider, alice):
    settle(engine)
    provider.away = True
    settle(engine, 1)
    id = verbs.request(alice, "small").machine_id
    provider.calls.clear()
    settle(engine, 3)
    assert provider.calls == []
    assert machines.by_id(id).state is S.ASSIGNED


def test_a_hundred_machines_that_are_gone_are_asked_for_in_one_statement(small, ready):
    made = ready(100)
    assert [machine.id for machine in machines.with_ids([*(machine.id for machine in made), "nobody"])] == [m.id for m in made]
    assert machines.with_ids([]) == []
