"""Files that say how things are to be: what differs, having it so, and that a second time changes nothing."""

from pathlib import Path

import pytest

from appliance.catalog import Event, Grant, Member, Quota
from tests.unit.client.conftest import Dpe

pytestmark = pytest.mark.cli


def recorded() -> int:
    """How many events there are, without those of the test's own tokens."""
    return Event.select().where(Event.kind != "account.token").count()


WANTED = """
policies: {notebook: {buffer: 4}}
members: {analysts: {accounts: [mary, ada]}}
grants:
  "user:group:analysts:class:notebook": {ends_at: 2100-02-01T01:00:00+01:00, limits: {machines: 2}}
quotas: {"account:ada:each:all": {machines: 6}}
sequences:
  office:
    title: For the office
    moves: {reclaim: {before: [{name: pause, kind: wait, with: {time: 15m}, retry: {tries: 2}}]}}
"""


def test_diff_says_what_apply_does_and_a_second_time_changes_nothing(dpe: Dpe) -> None:
    first = dpe("diff", "-f", "-", name="grace", input=WANTED)
    assert first.exit_code == 8, first.output
    assert '+  "buffer": 4' in first.stdout
    assert "+++ wanted: grants/user:group:analysts:class:notebook" in first.stdout
    done = dpe("apply", "-f", "-", name="grace", input=WANTED)
    assert done.exit_code == 0, done.output
    assert [line.split(": ")[-1] for line in done.stdout.splitlines()] == ["changed"] * 5
    assert Member.select().count() == 2
    assert Quota.select().where(Quota.machines == 6).count() >= 1
    assert Grant.select().where(Grant.over_class == "notebook").count() == 1
    events = recorded()
    again = dpe("apply", "-f", "-", name="grace", input=WANTED)
    assert [line.split(": ")[-1] for line in again.stdout.splitlines()] == ["unchanged"] * 5
    same = dpe("diff", "-f", "-", name="grace", input=WANTED)
    assert (same.exit_code, same.stdout) == (0, "")
    assert recorded() == events


@pytest.mark.badinput
@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", 1),
        ("[]", 1),
        ("machines: {}", 1),
        ("policies: [notebook]", 1),
        ("policies: {notebook: 5}", 1),
        ("{", 1),
        ("policies: {nothing: {buffer: 1}}", 4),
        ("quotas: {'account:nobody:each:all': {machines: 1}}", 4),
        ("policies: {notebook: {buffer: many}}", 1),
    ],
)
def test_a_file_that_says_something_else_changes_nothing(dpe: Dpe, text: str, code: int) -> None:
    before = recorded()
    assert dpe("apply", "-f", "-", name="grace", input=text).exit_code == code
    assert recorded() == before


def test_a_file_is_looked_at_whole_before_anything_is_done(dpe: Dpe, tmp_path: Path) -> None:
    file = tmp_path / "wanted.yml"
    file.write_text("policies: {notebook: {buffer: 7}}\nmembers: {nobody: {accounts: []}}\n")
    before = recorded()
    assert dpe("apply", "-f", str(file), name="grace").exit_code == 4
    assert recorded() == before
