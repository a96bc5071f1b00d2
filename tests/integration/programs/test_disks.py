"""Disks as lsblk and smartctl tell of them, which of them may be erased, and how full the state's is."""

from appliance import catalog
from appliance.host.disks import inventory
from appliance.host.rpc.registry import Host
from appliance.settings import Settings
from tests.hosted import used


def test_this_machine_s_own_disks_are_listed(settings: Settings) -> None:
    assert all(disk.size > 0 and disk.use for disk in inventory.disks(settings))


def test_what_can_go_goes(settings: Settings) -> None:
    (settings.cache / "bootstrap").mkdir()
    (settings.cache / "bootstrap/one.tar").write_bytes(b"x" * 100_000)
    assert used("storage.clean", Host(settings)) >= 100_000
    assert list(settings.cache.iterdir()) == []
    said = used("storage.look", Host(settings))
    assert said["sizes"]["cache"] == 0
    assert set(said["sizes"]) == set(inventory.PARTS)
    catalog.close()
