"""An engine over a provider that is only memory."""

from collections.abc import Iterator

import pytest

from appliance import catalog
from appliance.catalog import options
from appliance.engine import Engine
from tests.unit.engine.fake import FakeProvider


@pytest.fixture
def provider():
    return FakeProvider()


@pytest.fixture
def engine(opened, small, provider) -> Iterator[Engine]:
    """An engine that was set up."""
    with catalog.write():
        options.put("setup_done", True)
    made = Engine(opened, provider, loaded=None)
    yield made
    made.stop()
    made.close()
