"""An engine that starts again asks as much of a catalog with many runs in flight as of one with few, and finds it by indexes."""

import pytest

from appliance import catalog
from appliance.catalog import Run, WorkItem, WorkItemState
from appliance.engine import Engine
from appliance.workflow.activities.people import notice_gone
from tests.bench.runs import fill
from tests.plans import scans, statements
from tests.unit.engine.fake import FakeProvider

pytestmark = pytest.mark.workflow


def test_as_many_statements_for_sixty_runs_as_for_ten(opened, monkeypatch):
    counts = []
    for more in (10, 50):
        fill(opened, more, begin=not counts)
        catalog.close()
        with statements(monkeypatch) as seen:
            engine = Engine(opened, FakeProvider())
            engine.controllers.dispatcher.dispatch()
            notice_gone()
        assert not engine.jobs.under_way()  # all of them wait
        engine.stop()
        engine.close()
        counts.append(len(seen))
        assert scans(seen) == []
    assert (Run.select().count(), WorkItem.select().where(WorkItem.state == WorkItemState.OPEN).count()) == (60, 30)
    assert counts[0] == counts[1] < 25
