"""When backups are due, with a clock of the test's."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance import catalog
from appliance.catalog import options
from appliance.host.backup import appliance_backup, schedule
from appliance.host.backup.appliance_backup import Config, problem
from appliance.host.backup.schedule import is_due, is_test_due, slot, upcoming
from appliance.host.interface.backups import Last, Plan
from appliance.settings import Settings
from tests.unit.host.backed_up import small_appliance

pytestmark = pytest.mark.backup
BERLIN, UTC_ZONE = ZoneInfo("Europe/Berlin"), ZoneInfo("UTC")
NIGHT = Plan(at="02:30")


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


LONG_AGO = at("2026-01-01T00:00")


def test_one_is_due_when_its_time_has_come_and_not_before() -> None:
    good = {"ok_at": "2026-11-20T02:31:00+00:00", "begun_at": "2026-11-20T02:30:10+00:00"}
    assert not is_due(NIGHT, LONG_AGO, good, at("2026-11-21T02:29:59"), UTC_ZONE)
    assert is_due(NIGHT, LONG_AGO, good, at("2026-11-21T02:30:00"), UTC_ZONE)
    assert slot(NIGHT, at("2026-11-21T02:29"), UTC_ZONE) == at("2026-11-20T02:30")
    assert upcoming(NIGHT, at("2026-11-21T02:30"), UTC_ZONE) == at("2026-11-22T02:30")


def test_a_missed_one_is_made_up_once() -> None:
    """The server was off for three nights."""
    good = {"ok_at": "2026-11-17T02:31:00+00:00", "begun_at": "2026-11-17T02:30:00+00:00"}
    back = at("2026-11-20T09:00")
    assert is_due(NIGHT, LONG_AGO, good, back, UTC_ZONE)
    done = {"ok_at": back.isoformat(), "begun_at": back.isoformat()}
    assert not is_due(NIGHT, LONG_AGO, done, back + timedelta(minutes=1), UTC_ZONE)
    assert is_due(NIGHT, LONG_AGO, done, at("2026-11-21T02:30"), UTC_ZONE)


def test_one_that_failed_is_tried_again_after_an_hour() -> None:
    failed = {"ok_at": "2026-11-20T02:31:00+00:00", "begun_at": "2026-11-21T02:30:00+00:00", "ok": False}
    assert not is_due(NIGHT, LONG_AGO, failed, at("2026-11-21T03:29"), UTC_ZONE)
    assert is_due(NIGHT, LONG_AGO, failed, at("2026-11-21T03:30"), UTC_ZONE)


def test_what_was_just_configured_does_not_begin_by_day() -> None:
    assert not is_due(NIGHT, at("2026-11-21T10:00"), {}, at("2026-11-21T10:01"), UTC_ZONE)
    assert is_due(NIGHT, at("2026-11-21T10:00"), {}, at("2026-11-22T02:30"), UTC_ZONE)


def test_chosen_days_and_the_appliances_own_clock() -> None:
    fridays = Plan(at="23:00", days=[4])
    assert slot(fridays, at("2026-11-26T12:00"), BERLIN) == at("2026-11-20T22:00")
    assert upcoming(fridays, at("2026-11-20T22:00"), BERLIN) == at("2026-11-27T22:00")
    assert slot(Plan(on=False), at("2026-11-26T12:00"), BERLIN) is None
    assert upcoming(Plan(days=[]), at("2026-11-26T12:00"), BERLIN) is None


@given(st.datetimes(min_value=datetime(2026, 1, 1), max_value=datetime(2028, 1, 1)), st.sets(st.integers(0, 6), min_size=1))  # noqa: DTZ001
def test_there_is_always_one_before_and_one_after_also_where_clocks_change(moment: datetime, days: set[int]) -> None:
    plan, here = Plan(at="02:30", days=sorted(days)), moment.replace(tzinfo=UTC)
    before, after = slot(plan, here, BERLIN), upcoming(plan, here, BERLIN)
    assert before is not None
    assert after is not None
    assert before <= here < after
    assert after - before <= timedelta(days=7, hours=1)


def test_what_is_told_when_one_should_not_count_on_them() -> None:
    since = at("2026-11-10T00:00")
    known = Config.model_validate({"target": {"kind": "folder", "path": "/mnt"}, "repository": "x", "since": since})
    assert problem(known, {}, since + timedelta(hours=1)) == ""
    assert problem(known, {}, since + timedelta(days=3)) == "There is no backup yet."
    good = {"ok": True, "ok_at": (since + timedelta(days=1)).isoformat()}
    assert problem(known, good, since + timedelta(days=2)) == ""
    assert problem(known, good, since + timedelta(days=9)) == "The last backup is 8 days old."
    assert "No room" in problem(known, {**good, "ok": False, "error": "No room."}, since + timedelta(days=2))
    assert "damaged" in problem(known, {**good, "checked_at": "x", "check_ok": False, "check_error": "damaged"}, since + timedelta(days=2))


def test_a_restore_is_tested_every_week_and_a_day_after_one_that_failed() -> None:
    since = at("2026-11-10T00:00")

    def due(moment: str, plan: Plan = NIGHT, **last: Any) -> bool:
        return is_test_due(plan, since, Last(ok_at="2026-11-10T01:00:00+00:00", **last), at(moment))

    assert not is_test_due(NIGHT, since, Last(), at("2026-11-21T00:00")), "there is nothing to test"
    assert not due("2026-11-10T12:00")
    assert due("2026-11-11T00:00")
    begun = {"test_begun_at": "2026-11-12T00:00:00+00:00"}
    assert not due("2026-11-12T23:59", **begun), "it was cancelled or cut off"
    good = {**begun, "tested_at": "2026-11-12T00:10:00+00:00", "test_ok": True}
    assert not due("2026-11-18T23:59", **good)
    assert due("2026-11-19T00:10", **good)
    assert due("2026-11-13T00:10", Plan(restore_test="daily"), **good)
    assert due("2026-11-13T00:10", **{**good, "test_ok": False})
    assert not due("2027-11-19T00:10", Plan(restore_test="never"), **good)


def test_the_schedule_begins_a_backup_and_then_a_restore_test(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[str] = []
    monkeypatch.setattr(schedule.Client, "begin", lambda _client, verb: begun.append(verb.name))
    monkeypatch.setattr(schedule.events, "zone", lambda _: UTC_ZONE)
    known = {"target": {"kind": "folder", "path": "/mnt"}, "repository": "x", "since": LONG_AGO}
    appliance_backup.save(settings, Config.model_validate(known))
    for note in ({}, {"ok_at": appliance_backup.stamp()}, {"test_begun_at": appliance_backup.stamp()}):
        appliance_backup.note(settings, **note)
        schedule._look(settings)
    assert begun == ["backup.run", "restore.test"]


def test_what_is_told_when_no_restore_could_be_tested() -> None:
    since = at("2026-11-10T00:00")
    known = Config.model_validate({"target": {"kind": "folder", "path": "/mnt"}, "repository": "x", "since": since})
    backed_up = {"ok_at": "2026-11-10T01:00:00+00:00"}
    told = appliance_backup.restore_problem
    assert told(known, Last(), at("2027-11-10T00:00")) == ""
    assert told(known, Last(**backed_up), at("2026-11-20T00:00")) == ""
    assert told(known, Last(**backed_up), at("2026-11-26T00:00")) == "No restore was tested yet."
    tested = {**backed_up, "test_ok": True, "test_ok_at": "2026-11-20T00:00:00+00:00"}
    assert told(known, Last(**tested), at("2026-11-30T00:00")) == ""
    assert told(known, Last(**tested), at("2026-12-10T00:00")) == "The last restore test was 20 days ago."
    assert told(known, Last.model_validate({**tested, "test_ok": False, "test_error": "Damaged."}), at("2026-11-21T00:00")).endswith(
        "Damaged."
    )
    never = known.model_copy(update={"plan": Plan(restore_test="never")})
    assert told(never, Last(**backed_up), at("2027-11-10T00:00")) == ""


def test_a_backup_is_of_the_folder_s_scenario_whatever_it_is_called_in_the_catalog_by_now(tmp_path: Path) -> None:
    """Its folder is put back under that name, which the folder's own scenario.yml has to have."""
    settings = small_appliance(tmp_path / "state")
    catalog.open(settings.catalog)
    with catalog.write():
        options.put("scenario", {"name": "renamed", "title": "Small", "description": ""})
    (work := tmp_path / "work").mkdir()
    host: Any = SimpleNamespace(settings=settings, tell=lambda *_: None)
    known: Any = SimpleNamespace(plan=Plan())
    manifest = appliance_backup._gather(work, [], known, host)
    catalog.close()
    assert manifest.scenario == "small"
    assert (work / "scenario/scenario.yml").is_file()
