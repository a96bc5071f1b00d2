"""Holidays: a country's, one of its parts', an admin's own, and those left out."""

from datetime import date

import pytest

from appliance.catalog import Actor, Event, options, public_holidays
from appliance.errors import BadInput
from appliance.services import calendars

pytestmark = pytest.mark.policy


def test_there_are_none_until_somebody_chooses(opened: object) -> None:
    assert public_holidays.of([2026, 2027]) == {}


def test_a_country_s_and_a_part_s_with_days_of_one_s_own_and_without_others(opened: object, admin: Actor) -> None:
    calendars.set_holidays(admin, country="DE", part="", own={}, without=[])
    found = public_holidays.of([2027])
    assert (found[date(2027, 10, 3)], date(2027, 1, 6) in found) == ("German Unity Day", False)
    calendars.set_holidays(
        admin, country="DE", part="BY", own={date(2027, 12, 24): "Closed", date(2028, 1, 2): "Closed"}, without=[date(2027, 10, 3)]
    )
    found = public_holidays.of([2027])
    assert (found[date(2027, 1, 6)], found[date(2027, 12, 24)]) == ("Epiphany", "Closed")
    assert date(2027, 10, 3) not in found
    assert {day.year for day in found} == {2027}
    assert list(found) == sorted(found)
    assert Event.get(Event.kind == "settings.changed").data["after"]["country"] == "DE"


def test_a_part_of_another_country_is_forgotten(opened: object, admin: Actor) -> None:
    calendars.set_holidays(admin, country="FR", part="BY", own={}, without=[])
    assert options.get("holidays")["part"] == ""
    assert public_holidays.parts("DE")["BY"]
    assert public_holidays.parts("Atlantis") == {}
    assert public_holidays.countries()["US"] == "United States"


@pytest.mark.badinput
def test_an_unknown_country_is_refused(opened: object, admin: Actor) -> None:
    with pytest.raises(BadInput, match="No holidays are known of 'XX'"):
        calendars.set_holidays(admin, country="XX", part="", own={}, without=[])
