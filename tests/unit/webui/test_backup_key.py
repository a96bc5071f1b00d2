"""The recovery key as the step after a target: shown to whoever confirms access, asked back, and marked targets; over a dpe-host of the tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.catalog import Event
from appliance.host.backup import appliance_backup, restic
from appliance.host.interface import backups
from appliance.host.interface.backups import Found
from appliance.settings import Settings
from tests.hosted import Hosted, do_instead, hosted
from tests.unit.host.test_backup_target import KEY, configured
from tests.unit.webui.conftest import Browser

pytestmark = [pytest.mark.backup, pytest.mark.console_ui]
PAGE = "/admin/server/backups/"
FOLDER = {"kind": "folder", "folder_path": "/mnt/backup"}


@pytest.fixture
def host(opened: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hosted]:
    """dpe-host, for which every target is empty and on the appliance's own disk."""

    def look(args: backups.At, host: object) -> Found:
        return Found(state="empty", words="It can be used.", same_disk=True)

    def use(args: backups.At, host: object) -> Found:
        known = appliance_backup.config(opened)
        configured(opened, same_disk=True, noted=bool(known and known.noted))
        return look(args, host)

    do_instead(monkeypatch, backups.TEST, look)
    do_instead(monkeypatch, backups.CONFIGURE, use)
    with hosted(opened, tmp_path) as made:
        yield made


def test_after_saving_a_target_comes_its_key_which_is_asked_back_once(grace: Browser, host: Hosted) -> None:
    grace.get(PAGE)
    assert grace.post(PAGE + "configure", FOLDER).headers["Location"] == PAGE + "key"
    begin = grace.get(PAGE + "key").text
    assert "Nobody has written the recovery key down yet." in begin
    assert 'href="/admin/server/backups/">Backups</a>' in begin.split('aria-label="Breadcrumb"')[1]
    assert KEY[:4] not in begin
    assert restic.printed(KEY) in grace.post(PAGE + "key").text
    asked = grace.get(PAGE + "written").text
    assert KEY[:4] not in asked
    refused = grace.post(PAGE + "noted", {"ends": "ABCD ABCD"})
    assert refused.status_code == 400
    assert "not how the recovery key begins and ends" in refused.text
    assert 'value="ABCD ABCD"' in refused.text
    assert grace.post(PAGE + "noted", {"ends": "abcd efgh"}).headers["Location"] == PAGE
    assert Event.select().where(Event.kind == "backup.key_noted").count() == 1
    assert grace.get(PAGE + "key").headers["Location"] == PAGE
    assert grace.post(PAGE + "configure", FOLDER).headers["Location"] == PAGE  # with the same key, which they have


def test_a_target_on_the_appliance_s_own_disk_is_called_that(grace: Browser, host: Hosted) -> None:
    grace.get(PAGE)
    tried = grace.post(PAGE + "test", FOLDER).text
    assert "But it is the appliance's own disk" in tried.replace("&#39;", "'")
    assert "own disk.</strong>" not in tried
    grace.post(PAGE + "configure", FOLDER)
    assert "This is the appliance's own disk." in grace.get(PAGE).text


def test_when_a_restore_was_tested_and_what_came_of_it(
    grace: Browser, host: Hosted, opened: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    configured(opened)
    assert "none yet" in grace.get(PAGE).text.split("Last restore test")[1][:60]
    do_instead(monkeypatch, backups.TEST_RESTORE, lambda args, host: backups.Tested(words="It could be.", whole=True))
    assert "/operations/" in grace.post(PAGE + "restore-test").headers["Location"]
    moment = "2026-11-30T09:00:00+00:00"
    appliance_backup.note(opened, ok_at=moment, tested_at=moment, test_ok=True, test_ok_at=moment, test_words="It could be restored.")
    page = grace.get(PAGE).text
    assert moment[:16] in page.split("Last restore test")[1][:120]
    assert "It could be restored." in page
    appliance_backup.note(opened, test_ok=False, test_error="It is damaged.")
    page = grace.get(PAGE).text
    assert "The last restore test failed: It is damaged." in page
    assert "It could be restored." not in page
    plan = {"at": "02:30", "days": ["1"], "daily": "7", "weekly": "4", "monthly": "6"}
    assert grace.post(PAGE + "schedule", {**plan, "restore_test": "hourly"}).status_code == 400
    assert grace.post(PAGE + "schedule", {**plan, "restore_test": "never"}).headers["Location"] == PAGE
    assert appliance_backup.configured(opened).plan.restore_test == "never"
