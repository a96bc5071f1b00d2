"""The providers of the tests are like the real one, which tests/integration/test_conformance.py holds to the same."""

from collections.abc import Callable
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest

from tests.disk_provider import DiskProvider
from tests.unit.engine.fake import FakeProvider
from tests.unit.hypervisor.conformance import Conformance, MakeSpec
from tests.unit.hypervisor.test_provider import spec


class InMemory(Conformance):
    @pytest.fixture
    def forkable(self) -> MakeSpec:
        return lambda slot: replace(spec(slot), snapshot=Path("/snapshot"))

    @pytest.fixture
    def files(self, tmp_path: Path) -> Callable[[str], Path]:
        numbers = count()
        return lambda place: tmp_path / place / f"{next(numbers)}.qcow2"


class TestFakeProvider(InMemory):
    @pytest.fixture
    def provider(self) -> FakeProvider:
        return FakeProvider()


class TestDiskProvider(InMemory):
    @pytest.fixture
    def provider(self, tmp_path: Path) -> FakeProvider:
        return DiskProvider(tmp_path / "provider")
