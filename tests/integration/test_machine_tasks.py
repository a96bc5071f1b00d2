"""Tasks for each machine, run in machines that are made to wait: Ansible itself, through real agents."""

import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from appliance.hypervisor.libvirt.provider import LibvirtProvider
from appliance.hypervisor.provider import MachineSpec, Power
from appliance.lifecycle import batch
from appliance.lifecycle.batch import Built, Order
from appliance.settings import REPOSITORY, Settings
from tests.integration.conftest import MakeSpec
from tests.integration.look import power

pytestmark = pytest.mark.fork


@pytest.fixture
def specs(provider: LibvirtProvider, make_spec: MakeSpec, small_snapshot: str) -> Iterator[list[MachineSpec]]:
    specs = [make_spec(slot, snapshot=small_snapshot, readiness="paused") for slot in (21, 22, 23)]
    yield specs
    for spec in specs:
        provider.destroy(spec.id)


def test_each_machine_is_told_its_own_name_while_it_waits(
    appliance_settings: Settings, provider: LibvirtProvider, specs: list[MachineSpec]
) -> None:
    """One of a class without such tasks, one with them, and one in which a task fails."""
    settings = replace(appliance_settings, scenario=REPOSITORY / "tests/scenarios/named")
    built, seconds, said = dict[str, Built](), dict[str, float](), set[str]()
    plain, named, refused = specs
    described = {"title": "Named machine", "refused": refused.name}

    def done(id: str, one: Built) -> None:
        built[id], seconds[id] = one, round(time.monotonic() - begun, 2)

    begun = time.monotonic()
    orders = [Order(plain), Order(named, ["named"], described), Order(refused, ["named"], described)]
    batch.build(provider, orders, settings, lambda _id, text: said.add(text), done)
    print({"seconds without tasks": seconds[plain.id], "with": seconds[named.id]})
    assert said >= {"forking", "named : Write the machine's own name", "named : Take no machine of this name"}
    error = built[refused.id].error
    assert error is not None
    assert error.message.startswith("Take no machine of this name failed:")
    assert error.hint == "Look at tasks/machine.yml of named, and at the engine's log."
    assert [(built[spec.id].error, built[spec.id].forked) for spec in (plain, named)] == [(None, True)] * 2
    assert [power(provider, spec) for spec in specs] == [Power.PAUSED, Power.PAUSED, Power.RUNNING]
    assert next(iter(built)) == plain.id, "it waits for nobody's tasks"
    assert list((settings.state / "work/batch").iterdir()) == []
    provider.start(named)
    provider.wait(named)
    assert provider.execute(named.id, ["cat", "/etc/machine-name"]).output == f"{named.name} of Named machine\n"
    assert provider.execute(named.id, ["hostname"]).output.strip() == named.name
