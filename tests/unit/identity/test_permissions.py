"""What somebody may do: whether at all, which is asked many times a page, and how far."""

import pytest

from appliance import catalog
from appliance.catalog import Actor, Grant, OrgUnit
from appliance.identity import permissions
from tests.plans import statements


def test_whether_somebody_may_anything_asks_for_no_units(alice: Actor, monkeypatch: pytest.MonkeyPatch) -> None:
    with catalog.write():
        unit = OrgUnit.create(parent=1, name="Science")
        Grant.create(role="operator", account=alice.account_id, over_unit=unit.id)
    held = permissions.of(alice)
    with statements(monkeypatch) as seen:
        assert held.has("machines.manage")
        assert held.has("own")
        assert not held.has("events.read")  # which is held over the appliance alone
        assert not held.has("settings.manage")
    assert seen == []
    assert [bool(held.reach(name)) for name in ("machines.manage", "events.read", "settings.manage")] == [True, False, False]
