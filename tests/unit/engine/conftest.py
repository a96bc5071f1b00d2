"""An engine over a provider that is only memory."""

from collections.abc import Iterator

import pytest

from appliance import catalog
from appliance.catalog import options
from appliance.engine import Engine
from appliance.lifecycle import batch
from tests.unit.engine.fake import FakeProvider, in_place_of_the_playbook


@pytest.fixture
def provider():
    return FakeProvider()


@pytest.fixture
def engine(opened, small, provider, monkeypatch) -> Iterator[Engine]:
    """An engine that was set up. The playbook is replaced by the same steps; tests/integration run it."""

    monkeypatch.setattr(batch, "build", in_place_of_the_playbook(provider))
    with catalog.write():
        options.put("setup_done", True)
    made = Engine(opened, provider, loaded=None)
    yield made
    made.stop()
    made.close()
