"""Tasks for each machine, run in machines that are made to wait: Ansible itself, through real agents."""

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.hypervisor.libvirt.provider import LibvirtProvider
from appliance.hypervisor.provider import MachineSpec, Power
from appliance.lifecycle import batch
from appliance.lifecycle.batch import Built, Order
from appliance.settings import REPOSITORY, Settings
from tests.integration.conftest import MakeSpec
from tests.integration.look import power, traces

pytestmark = pytest.mark.fork


@pytest.fixture
def specs(provider: LibvirtProvider, make_spec: MakeSpec, small_snapshot: Path) -> Iterator[list[MachineSpec]]:
    """One that waits running, and two that wait paused, one of which is to be refused."""
    waits = ((21, "running"), (22, "paused"), (23, "paused"))
    specs = [make_spec(slot, snapshot=small_snapshot, readiness=readiness) for slot, readiness in waits]
    yield specs
    for spec in specs:
        provider.destroy(spec.id)


def test_each_machine_is_told_its_own_name_while_it_waits(
    appliance_settings: Settings, provider: LibvirtProvider, specs: list[MachineSpec]
) -> None:
    settings, built, said = replace(appliance_settings, scenario=REPOSITORY / "tests/scenarios/named"), dict[str, Built](), set[str]()
    refused = specs[2]
    described = {"title": "Named machine", "refused": refused.name}
    orders = [Order(spec, ["named"], described) for spec in specs]
    batch.build(provider, orders, settings, lambda _id, text: said.add(text), built.__setitem__)
    assert said >= {"forking", "named : Write the machine's own name", "named : Take no machine of this name"}
    error = built[refused.id].error
    assert error is not None
    assert error.message.startswith("Take no machine of this name failed:")
    assert error.hint == "Look at tasks/machine.yml of named, and at the engine's log."
    assert [(built[spec.id].error, built[spec.id].forked) for spec in specs if spec is not refused] == [
        (None, True),
        (None, True),
        (None, False),
    ]
    assert [power(provider, spec) for spec in specs if spec is not refused] == [Power.RUNNING, Power.PAUSED]
    assert list((settings.state / "work/batch").iterdir()) == []
    for spec in specs:
        if spec is not refused:
            provider.start(spec)
            provider.wait(spec)
            assert provider.execute(spec.id, ["cat", "/etc/machine-name"]).output == f"{spec.name} of Named machine\n"
            assert provider.execute(spec.id, ["hostname"]).output.strip() == spec.name


def test_what_the_tasks_cost(
    appliance_settings: Settings,
    provider: LibvirtProvider,
    make_spec: MakeSpec,
    small_snapshot: Path,
) -> None:
    """Without tasks nothing is started for them: a batch of forks is made in less time than Ansible takes to come up."""
    settings, before = replace(appliance_settings, scenario=REPOSITORY / "tests/scenarios/named"), traces(appliance_settings)
    described = {"title": "Named machine", "refused": ""}
    seconds: dict[str, float] = {}
    for what, roles in {"without": [], "with": ["named"]}.items():
        built: dict[str, Built] = {}
        orders = [Order(make_spec(slot, snapshot=small_snapshot, readiness="paused"), roles, described) for slot in (25, 26)]
        begun = time.monotonic()
        batch.build(provider, orders, settings, lambda _id, _text: None, built.__setitem__)
        seconds[what] = time.monotonic() - begun
        assert [(one.error, one.forked) for one in built.values()] == [(None, True)] * 2
        for order in orders:
            provider.destroy(order.spec.id)
    print({what: round(value, 2) for what, value in seconds.items()})
    assert seconds["without"] < seconds["with"]
    assert traces(appliance_settings) == before
