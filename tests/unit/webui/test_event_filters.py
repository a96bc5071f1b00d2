"""The filter of the record: each choice finds something that the product records, and whatever it records can be chosen."""

import pytest

from appliance import catalog
from appliance.catalog import EventKind, events, record
from appliance.catalog.event_kinds import Area
from appliance.settings import Settings
from tests.unit.webui.conftest import Browser

pytestmark = pytest.mark.cases


def test_every_choice_has_something_to_find() -> None:
    assert {kind.area for kind in EventKind} == set(Area)


@pytest.mark.parametrize(
    "kind", ["data_disk.made", "kept_disk.removed", "sign_in.failed", "machine.in_use", "org_unit.changed", "unit.changed", "disk.failing"]
)
def test_a_choice_finds_what_belongs_to_it(kind: str, opened: Settings) -> None:
    with catalog.write():
        record(kind, "Something happened.")
    assert [event.kind for event in events.list_events(area=EventKind(kind).area)] == [kind]
    assert events.list_events(area=Area.QUOTA) == []


def test_org_units_of_the_directory_are_found_with_the_others(grace: Browser) -> None:
    with catalog.write():
        record("unit.created", "The directory brought the org unit Physics.")
        record("org_unit.created", "grace made the org unit Chemistry.")
    page = grace.get("/admin/events/?kind=org").text
    assert "Physics" in page
    assert "Chemistry" in page
