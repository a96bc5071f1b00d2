"""An engine over a provider that is only memory."""

from collections.abc import Iterator

import pytest

from appliance import catalog
from appliance.catalog import Class, options
from appliance.engine import Engine
from appliance.settings import Settings
from tests.unit.engine.fake import FakeProvider


@pytest.fixture
def provider() -> FakeProvider:
    return FakeProvider()


@pytest.fixture
def engine(opened: Settings, small: Class, provider: FakeProvider) -> Iterator[Engine]:
    """An engine that was set up."""
    with catalog.write():
        options.put("setup_done", True)
    made = Engine(opened, provider)
    yield made
    made.stop()
    made.close()
