"""The libvirt provider is what every provider must be."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.hypervisor.libvirt.provider import LibvirtProvider
from tests.integration.conftest import MakeSpec
from tests.unit.hypervisor import conformance


class TestLibvirt(conformance.Conformance):
    @pytest.fixture
    def forkable(self, provider: LibvirtProvider, make_spec: MakeSpec, small_snapshot: str) -> Iterator[conformance.MakeSpec]:
        made = {}
        yield lambda slot: made.setdefault(slot, make_spec(slot, snapshot=small_snapshot))
        for spec in made.values():
            provider.destroy(spec.id)

    @pytest.fixture
    def copy(self, tmp_path: Path) -> Path:
        return tmp_path / "copy.qcow2"
