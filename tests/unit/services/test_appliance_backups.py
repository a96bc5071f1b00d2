"""What is entered for backups, and what becomes of its secrets."""

from pathlib import Path
from typing import Any

import pytest

from appliance import layout
from appliance.errors import BadInput, Conflict, NotFound, Unavailable
from appliance.host.backup import appliance_backup, restic
from appliance.host.interface.backups import Folder, Sftp
from appliance.services import appliance_backups
from appliance.settings import load

pytestmark = pytest.mark.backup
SFTP = {"kind": "sftp", "sftp_host": "backup.example.org", "sftp_user": "dpe", "sftp_path": "/srv/dpe"}
S3 = {
    "kind": "s3", "s3_endpoint": "https://s3.example.org", "s3_bucket": "house", "s3_access_key": "AKIA", "s3_secret_key": "hidden words",
}  # fmt: skip


def test_what_was_entered_becomes_a_target() -> None:
    assert appliance_backups.entered({"kind": "folder", "folder_path": " /mnt/backup "}) == Folder(kind="folder", path="/mnt/backup")
    found = appliance_backups.entered(SFTP, ["ssh-ed25519 AAAA"])
    assert isinstance(found, Sftp)
    assert (found.port, found.host_keys) == (22, ["ssh-ed25519 AAAA"])
    assert str(found) == "dpe@backup.example.org:/srv/dpe"
    assert "hidden" not in str(appliance_backups.entered(S3))
    assert "hidden" not in repr(appliance_backups.entered(S3))


@pytest.mark.badinput
@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({}, "not said where"),
        ({"kind": "tape"}, "not said where"),
        ({"kind": "folder", "folder_path": "mnt"}, "The folder cannot be that"),
        ({"kind": "folder"}, "The folder is missing"),
        ({"kind": "disk", "disk_uuid": "../../x"}, "The disk cannot be that"),
        ({**SFTP, "sftp_host": "-oProxyCommand=id"}, "The server cannot be that"),
        ({**SFTP, "sftp_user": "a b"}, "The user cannot be that"),
        ({**SFTP, "sftp_user": "-x"}, "The user cannot be that"),
        ({**SFTP, "sftp_port": "many"}, "The port cannot be that"),
        ({**SFTP, "sftp_path": ""}, "The folder there is missing"),
        ({**S3, "s3_endpoint": "s3.example.org"}, "The address cannot be that"),
        ({**S3, "s3_bucket": "../x"}, "The bucket cannot be that"),
        ({**S3, "s3_secret_key": ""}, "The secret of the access key is missing"),
    ],
)
def test_what_cannot_be_a_target_is_named(values: dict[str, str], said: str) -> None:
    with pytest.raises(BadInput, match=said):
        appliance_backups.entered(values)


def test_a_stored_secret_goes_to_no_other_server(tmp_path: Path) -> None:
    settings = load({}, state=tmp_path / "s")
    layout.prepare(settings)
    known: dict[str, Any] = {"target": appliance_backups.entered(S3), "repository": "x", "since": "2026-11-21T00:00:00Z"}
    appliance_backup.save(settings, appliance_backup.Config.model_validate(known))
    again = appliance_backups.entered({**S3, "s3_secret_key": ""}, stored=True)
    assert getattr(appliance_backup.with_secret(settings, again), "secret_key", "") == "hidden words"
    elsewhere = appliance_backups.entered({**S3, "s3_secret_key": "", "s3_endpoint": "https://evil.example"}, stored=True)
    with pytest.raises(BadInput, match="no other server"):
        appliance_backup.with_secret(settings, elsewhere)
    with restic.at(appliance_backups.entered(S3), "K" * 32, settings) as there:
        command = " ".join(map(str, there.command("snapshots")))
    assert "hidden" not in command
    assert "K" * 32 not in command


def test_recovery_keys_are_read_as_people_type_them() -> None:
    key = restic.new_key()
    assert restic.typed(restic.printed(key).lower().replace("-", " ")) == key
    for wrong in ("", "ABCD", "0" * 32, key + "A"):
        with pytest.raises(BadInput, match="not a recovery key"):
            restic.typed(wrong)


@pytest.mark.parametrize(
    ("said", "kind", "words"),
    [
        ("Fatal: wrong password or no key found", BadInput, "does not open"),
        ("write /mnt/x: no space left on device", Unavailable, "no room left"),
        ("subprocess ssh: Host key verification failed.\nFatal: unable to start the sftp session", Unavailable, "another key"),
        ("subprocess ssh: dpe@x: Permission denied (publickey).\nFatal: unable to start the sftp session", Unavailable, "does not let"),
        (
            "Fatal: unable to open config file: stat /x: no such file\nIs there a repository at the following location?",
            NotFound,
            "no backups",
        ),
        ("Fatal: unable to create lock in backend: repository is already locked by PID 7", Conflict, "Something else works"),
        ("ciphertext verification failed", Conflict, "are damaged"),
        ("Fatal: something nobody thought of", Unavailable, "something nobody thought of"),
    ],
)
def test_what_restic_says_is_said_in_words(said: str, kind: type[Exception], words: str) -> None:
    error = restic.explain(said, restic.Folder(kind="folder", path="/mnt/backup"))
    assert isinstance(error, kind)
    assert words in error.message
