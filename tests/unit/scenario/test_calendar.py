"""Windows and one-offs as scenario.yml has them."""

from pathlib import Path

import pytest

from appliance.scenario.load import load
from tests.unit.scenario.test_load import GOOD, errors, write

pytestmark = pytest.mark.policy

CALENDAR = """\
      windows:
        - {name: Lessons, days: [mon, tue], begin: 08:00, end: 16:30, holidays: not, start: 3, maximum: 40}
        - name: Night
          begin: 22:00
          end: 06:00
          buffer: 0
      one_offs:
        - {name: Exam, day: 2026-12-03, begin: 10:30, end: 24:00, start: 60}
"""


def test_times_and_days_are_read_with_and_without_quotes_and_kept_as_they_can_be_read_again(tmp_path: Path) -> None:
    """YAML takes 10:30 for a number and 2026-12-03 for a date."""
    policy = load(write(tmp_path, GOOD + CALENDAR)).scenario.classes["notes"].policy
    kept = policy.model_dump(mode="json")
    assert [(one["begin"], one["end"]) for one in kept["windows"]] == [("08:00", "16:30"), ("22:00", "06:00")]
    assert (kept["one_offs"][0]["day"], kept["one_offs"][0]["begin"], kept["one_offs"][0]["end"]) == ("2026-12-03", "10:30", "00:00")
    assert kept["windows"][1]["days"] == ["mon", "tue", "wed", "thu", "fri"]
    assert policy.one_offs[0].room == 60
    assert type(policy).model_validate(kept) == policy


@pytest.mark.badinput
@pytest.mark.parametrize(
    ("was", "instead", "says"),
    [
        ("begin: 22:00", "begin: 25:00", "'1500' is not a time of day"),
        ("begin: 22:00", "begin: noon", "'noon' is not a time of day"),
        ("buffer: 0", "holidays: any", "Night changes nothing"),
        ("buffer: 0", "buffer: 4", "buffer (4) of Night is above the class's maximum (3)"),
        ("start: 3, maximum: 40", "start: 50, maximum: 40", "start (50) of Lessons is above its maximum (40)"),
        ("[mon, tue]", "[mon, mon]", "Lessons names a day twice"),
        ("[mon, tue]", "[mon, sol]", "cannot be 'sol'"),
        ("[mon, tue]", "[]", "is empty"),
        ("name: Night", "name: Lessons", "There are two called Lessons"),
        ("2026-12-03", "tomorrow", "'tomorrow' is not a day"),
        ("start: 60", "machines: 60", "machines is not a known key"),
    ],
)
def test_what_cannot_be_is_said_with_its_line(tmp_path: Path, was: str, instead: str, says: str) -> None:
    found = errors(write(tmp_path, GOOD + CALENDAR.replace(was, instead, 1)))
    assert says in found[0][2]
    assert found[0][1] >= 11
