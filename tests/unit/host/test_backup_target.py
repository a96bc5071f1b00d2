"""Where backups go: which disk that is, whether the appliance's own data lies there, too; and the recovery key, which is asked back."""

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from appliance.errors import BadInput, Conflict
from appliance.host.backup import appliance_backup, restic
from appliance.host.backup.appliance_backup import Config
from appliance.host.disks import block_devices
from appliance.host.interface.backups import Disk, Folder, Sftp
from appliance.host.rpc.registry import Host
from appliance.settings import Settings
from tests.hosted import used

pytestmark = pytest.mark.backup

KEY = "ABCDEFGH" * 4


def configured(settings: Settings, **values: Any) -> None:
    """Backups go somewhere, with a key."""
    restic.folder(settings).mkdir(parents=True, exist_ok=True)
    (restic.folder(settings) / "key").write_text(KEY)
    target = Folder(kind="folder", path="/mnt/backup")
    appliance_backup.save(settings, Config(target=target, repository="x", since=datetime.now(UTC), **values))


def test_the_key_is_asked_back_before_it_counts_as_written_down(settings: Settings) -> None:
    configured(settings)
    for wrong in ("", "ABCD", "EFGH ABCD", "ABCD EFGH ABCD EFGH", KEY):
        with pytest.raises(BadInput, match="not how the recovery key begins and ends") as refused:
            used("backup.noted", Host(settings), ends=wrong)
        assert refused.value.field == "ends"
    assert used("backup.key", Host(settings)) == restic.printed(KEY)
    used("backup.noted", Host(settings), ends=" abcd-efgh")
    with pytest.raises(Conflict, match="only until"):
        used("backup.key", Host(settings))


@pytest.fixture
def disks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two disks with two partitions and one, and a volume over both, as the kernel tells of them; by numbers from 8:1 on."""
    numbers = tmp_path / "dev/block"
    numbers.mkdir(parents=True)
    for number, place in enumerate(("sda/sda1", "sda/sda2", "sdb/sdb1", "dm-0"), 1):
        (tmp_path / "block" / place).mkdir(parents=True)
        if "/" in place:
            (tmp_path / "block" / place / "partition").write_text("1")
        (numbers / f"8:{number}").symlink_to(tmp_path / "block" / place)
    slaves = tmp_path / "block/dm-0/slaves"
    slaves.mkdir()
    for name in ("sda/sda2", "sdb/sdb1"):
        (slaves / name.split("/")[1]).symlink_to(tmp_path / "block" / name)
    monkeypatch.setattr(block_devices, "BY_NUMBER", numbers)
    monkeypatch.setattr(block_devices, "BY_UUID", tmp_path)
    return tmp_path


def test_partitions_of_a_disk_and_volumes_over_it_go_with_it(disks: Path) -> None:
    first, second, other, volume, network = (os.makedev(8, number) for number in (1, 2, 3, 4, 5))
    assert [block_devices.whole_disks(one) for one in (first, other, volume, network)] == [{"sda"}, {"sdb"}, {"sda", "sdb"}, set()]
    assert block_devices.share_a_disk(first, second)
    assert block_devices.share_a_disk(volume, other)
    assert not block_devices.share_a_disk(first, other)
    assert not block_devices.share_a_disk(first, network)
    assert block_devices.share_a_disk(network, network)


def test_a_target_beside_the_appliance_s_own_data_is_known(settings: Settings, disks: Path, tmp_path: Path) -> None:
    assert appliance_backup.is_beside(Folder(kind="folder", path=str(tmp_path)), settings)
    assert not appliance_backup.is_beside(Folder(kind="folder", path="/nowhere"), settings)
    assert not appliance_backup.is_beside(Folder(kind="folder", path="/proc"), settings)
    assert not appliance_backup.is_beside(Disk(kind="disk", uuid="not-there"), settings)
    assert not appliance_backup.is_beside(Sftp(kind="sftp", host="backup", user="dpe", path="/srv"), settings)
