"""What a real machine takes of the host's memory, as the engine is told."""

from collections.abc import Callable, Iterator

import psutil
import pytest

from appliance.hypervisor.libvirt.provider import LibvirtProvider
from appliance.hypervisor.provider import MachineSpec, Stats
from tests.integration.conftest import MakeSpec


@pytest.fixture
def made(provider: LibvirtProvider) -> Iterator[Callable[[MachineSpec], MachineSpec]]:
    """Note a machine that is about to be made, and take it away in the end."""
    ids = []

    def note(spec: MachineSpec) -> MachineSpec:
        ids.append(spec.id)
        return spec

    yield note
    for id in ids:
        provider.destroy(id)


def reading(provider: LibvirtProvider, spec: MachineSpec) -> Stats:
    return next(stats for stats in provider.stats() if stats.id == spec.id)


@pytest.mark.fork
def test_private_and_shared_memory_are_those_of_its_process(
    provider: LibvirtProvider, make_spec: MakeSpec, small_snapshot: str, made: Callable[[MachineSpec], MachineSpec]
) -> None:
    first, second = (made(make_spec(slot, snapshot=small_snapshot)) for slot in (20, 21))
    provider.fork(first)
    alone = reading(provider, first)
    provider.fork(second)
    waiting = reading(provider, first)
    process = psutil.Process(int((provider.settings.libvirt / f"run/qemu/{first.name}.pid").read_text()))
    pss = process.memory_full_info().pss >> 20
    assert abs(waiting.memory_private + waiting.memory_shared - pss) <= 3
    assert 0 < waiting.memory_private + waiting.memory_shared < first.memory * 0.35
    assert waiting.memory_shared > 0
    assert waiting.memory_private < alone.memory_private, "what it had alone is shared by now"
    provider.start(first)
    provider.wait(first)
    working = reading(provider, first)
    assert waiting.memory_private < working.memory_private <= first.memory + provider.host().overhead
    provider.destroy(first.id)
    assert first.id not in {stats.id for stats in provider.stats()}


def test_a_booted_machine_has_nearly_all_that_it_takes_to_itself(
    provider: LibvirtProvider, make_spec: MakeSpec, made: Callable[[MachineSpec], MachineSpec]
) -> None:
    spec = made(make_spec(22))
    provider.clone(spec)
    provider.start(spec)
    provider.wait(spec)
    found = reading(provider, spec)
    assert spec.memory / 4 < found.memory_private <= spec.memory + provider.host().overhead, "what the planner counts for it"
    assert found.memory_shared < found.memory_private / 4
