"""What dpe-host writes down for pages: backups, certificate and updates, as soon as they change."""

import os
from datetime import UTC, datetime
from typing import Any

import pytest

from appliance.access import tls
from appliance.host.backup import appliance_backup, restic
from appliance.host.interface.conditions import Backups, Certificate, Conditions, Updates
from appliance.host.interface.updates import Past, Staged
from appliance.host.rpc import registry
from appliance.host.rpc.registry import Host
from appliance.host.system import conditions, image
from appliance.host.updates import installation
from appliance.settings import Settings
from tests.authority import root
from tests.hosted import BUILD, used
from tests.unit.host.test_backup_target import configured

registry.load()  # all that dpe-host tells of


@pytest.mark.backup
def test_backups_are_told_of_as_soon_as_they_change(settings: Settings) -> None:
    conditions.write_conditions(settings)
    assert conditions.known(settings).backups == Backups()
    configured(settings, same_disk=True)
    assert conditions.known(settings).backups == Backups(set_up=True, same_disk=True)
    appliance_backup.note(settings, ok=False, error="There is no room left.")
    assert conditions.known(settings).backups == Backups(
        set_up=True, same_disk=True, problem="The last backup failed: There is no room left."
    )
    used("backup.stop", Host(settings))
    assert conditions.known(settings).backups == Backups()


def test_only_an_admin_s_own_certificate_has_an_end_that_needs_somebody(settings: Settings) -> None:
    tls.ensure(settings)
    conditions.write_conditions(settings)
    found = conditions.known(settings).certificate
    assert found is not None
    assert found == Certificate(names=found.names)
    assert "localhost" in found.names
    leaf = root().sign("dpe", names=("dpe.example.org",))
    tls.use_own(settings, leaf.pem + leaf.key_pem())
    conditions.write_conditions(settings)
    found = conditions.known(settings).certificate
    assert found is not None
    assert (found.ends, found.names) == (leaf.certificate.not_valid_after_utc, ["dpe.example.org"])
    (settings.tls / "own.pem").write_text("damaged")
    conditions.write_conditions(settings)
    found = conditions.known(settings).certificate
    assert found is not None
    assert (found.ends, "cannot be read" in found.problem) == (None, True)


def test_what_waits_of_updates(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    def now_is(**values: Any) -> Updates | None:
        installation.remember(settings, **values)
        conditions.write_conditions(settings)
        return conditions.known(settings).updates

    staged = Staged(version="1.3.0", built="", signed_by="", size=1, system_size=1, by="grace", at=datetime.now(UTC))
    assert now_is(staged=staged) == Updates()  # not the bootable image
    monkeypatch.setattr(image, "boot_image", lambda *_: image.Image.model_validate(BUILD))
    assert now_is() == Updates(staged="1.3.0")
    past = Past(before="1.2.0", version="1.3.0", outcome="rolled back", at=datetime.now(UTC), by="grace", reason="No machine answers.")
    assert now_is(past=[past]) == Updates(failed="No machine answers.")
    assert now_is(staged=staged.model_copy(update={"version": "1.3.1"})) == Updates(staged="1.3.1")
    assert now_is(staged=None) == Updates()


def test_it_is_written_when_it_changes_and_one_part_that_fails_spoils_no_other(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    conditions.write_conditions(settings)
    file = conditions.file(settings)
    assert file.stat().st_mode & 0o777 == 0o644  # the web process reads it
    os.utime(file, (1, 1))
    conditions.write_conditions(settings)
    assert file.stat().st_mtime == 1
    restic.folder(settings).mkdir(parents=True, exist_ok=True)
    (restic.folder(settings) / "config.json").write_text("{")
    conditions.write_conditions(settings)
    assert conditions.known(settings) == Conditions(updates=Updates(), certificate=conditions.known(settings).certificate)
