"""An engine over a provider that is only memory."""

from collections.abc import Iterator

import pytest

from appliance import catalog
from appliance.catalog import options
from appliance.engine import Engine
from appliance.errors import DpeError
from appliance.lifecycle import batch
from tests.unit.engine.fake import FakeProvider


@pytest.fixture
def provider():
    return FakeProvider()


@pytest.fixture
def engine(opened, small, provider, monkeypatch) -> Iterator[Engine]:
    """An engine that was set up. The playbook is replaced by the same three calls that it makes; tests/integration run it."""

    def build(specs, _settings, report):
        results = {}
        for spec in specs:
            try:
                provider.clone(spec)
                provider.start(spec)
                provider.wait(spec)
                results[spec.id] = None
            except DpeError as error:
                results[spec.id] = error
        return results

    monkeypatch.setattr(batch, "build", build)
    with catalog.write():
        options.put("setup_done", True)
    made = Engine(opened, provider, loaded=None)
    yield made
    made.stop()
    made.close()
