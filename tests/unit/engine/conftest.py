"""An engine over a provider that is only memory."""

from collections.abc import Iterator

import pytest

from appliance import catalog
from appliance.catalog import options
from appliance.engine import Engine
from appliance.errors import DpeError
from appliance.hypervisor import making
from appliance.hypervisor.batch import Step, perform
from appliance.hypervisor.snapshot import Unfit
from appliance.lifecycle import batch
from tests.unit.engine.fake import FakeProvider


@pytest.fixture
def provider():
    return FakeProvider()


@pytest.fixture
def engine(opened, small, provider, monkeypatch) -> Iterator[Engine]:
    """An engine that was set up. The playbook is replaced by the same steps; tests/integration run it."""

    def build(specs, _settings, report, done):
        for step in (Step.FORK, Step.CLONE, Step.START, Step.WAIT, Step.SUSPEND):
            outcomes = perform(provider, step, specs, parallel=1)
            for outcome in outcomes:
                if outcome.settled:
                    error = None if outcome.ok else DpeError(outcome.error, outcome.hint)
                    done(outcome.id, batch.Built(error, making.Made(outcome.spec).forked, fork_errors.get(outcome.id)))
                elif outcome.fork_error:
                    fork_errors[outcome.id] = (Unfit if outcome.unfit else DpeError)(outcome.fork_error)
            specs = [outcome.spec for outcome in outcomes if outcome.ok and not outcome.settled]

    fork_errors: dict[str, DpeError] = {}
    monkeypatch.setattr(batch, "build", build)
    with catalog.write():
        options.put("setup_done", True)
    made = Engine(opened, provider, loaded=None)
    yield made
    made.stop()
    made.close()
