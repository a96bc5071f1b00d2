"""The libvirt provider is what every provider must be."""

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from appliance.hypervisor.libvirt.provider import LibvirtProvider
from appliance.settings import Settings
from tests.integration.conftest import MakeSpec
from tests.unit.hypervisor import conformance


class TestLibvirt(conformance.Conformance):
    @pytest.fixture
    def forkable(self, provider: LibvirtProvider, make_spec: MakeSpec, small_snapshot: Path) -> Iterator[conformance.MakeSpec]:
        made = {}
        yield lambda slot: made.setdefault(slot, make_spec(slot, snapshot=small_snapshot))
        for spec in made.values():
            provider.destroy(spec.id)

    @pytest.fixture
    def files(self, appliance_settings: Settings) -> Callable[[str], Path]:
        folders = {"data": appliance_settings.data, "copies": appliance_settings.backups, "kept": appliance_settings.kept}
        folders["copies"].mkdir(exist_ok=True)
        return lambda place: folders[place] / f"{uuid.uuid4()}.qcow2"
