"""The providers of the tests are like the real one, which tests/integration/test_conformance.py holds to the same."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.disk_provider import DiskProvider
from tests.unit.engine.fake import FakeProvider
from tests.unit.hypervisor.conformance import Conformance, MakeSpec
from tests.unit.hypervisor.test_provider import spec


class InMemory(Conformance):
    @pytest.fixture
    def forkable(self) -> MakeSpec:
        return lambda slot: replace(spec(slot), snapshot="small/1/snapshot-1")

    @pytest.fixture
    def copy(self, tmp_path: Path) -> Path:
        return tmp_path / "copy.qcow2"


class TestFakeProvider(InMemory):
    @pytest.fixture
    def provider(self) -> FakeProvider:
        return FakeProvider()


class TestDiskProvider(InMemory):
    @pytest.fixture
    def provider(self, tmp_path: Path) -> FakeProvider:
        return DiskProvider(tmp_path / "provider")
