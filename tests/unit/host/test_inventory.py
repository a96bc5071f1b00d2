"""Disks as lsblk and smartctl tell of them, which of them may be erased, and how full the state's is."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from appliance import durable
from appliance.catalog import Event, database
from appliance.errors import BadInput, Conflict, Unavailable
from appliance.host.backup import appliance_backup
from appliance.host.console import status
from appliance.host.disks import ballast, block_devices, inventory, reset, second_disk
from appliance.host.interface.backups import Volume
from appliance.host.interface.disks import Disk
from appliance.host.rpc.registry import Host
from appliance.host.rpc.verb import Nothing
from appliance.host.system import image
from appliance.settings import Settings
from tests.hosted import used

GB = 10**9


def part(number: int, **more: Any) -> dict[str, Any]:
    return device(f"/dev/sda{number}", type="part", **more)


def device(path: str, **more: Any) -> dict[str, Any]:
    empty = dict.fromkeys(("model", "serial", "fstype", "label", "partlabel", "pttype", "tran", "uuid"))
    return {"path": path, "type": "disk", "size": 100 * GB, **empty, "mountpoints": [None], "ro": False, "rota": False, **more}


SYSTEM = device(
    "/dev/vda",
    model="QEMU  DISK ",
    serial="S1",
    pttype="gpt",
    children=[
        part(1, size=GB, partlabel="dpe-esp", fstype="vfat"),
        part(2, size=4 * GB, partlabel="dpe-a", fstype="ext4", mountpoints=["/"]),
        part(3, size=90 * GB, partlabel="dpe-data", fstype="ext4", label="dpe-data", mountpoints=["/var"]),
    ],
)


def disks(settings: Settings, *found: dict[str, Any]) -> list[Disk]:
    return inventory.disks(settings, json.dumps({"blockdevices": found}))


@pytest.mark.parametrize(
    ("found", "use", "holds", "refusal"),
    [
        (SYSTEM, "system", ["start-up files, 1.0 GB", "system A, 4.0 GB", "this appliance's data, 90.0 GB"], "itself"),
        (device("/dev/sdb"), "empty", [], ""),
        (device("/dev/sdb", pttype="dos"), "foreign", ["a partition table"], ""),
        (device("/dev/sdb", fstype="ntfs", label="Photos"), "foreign", ["Windows data (NTFS) “Photos”, 100.0 GB"], ""),
        (device("/dev/sdb", children=[part(1, size=5 * GB)]), "foreign", ["a partition, 5.0 GB"], ""),
        (device("/dev/sdb", children=[part(1, fstype="xfs", mountpoints=["/srv"])]), "other", ["xfs, 100.0 GB"], "in use: /srv"),
        (device("/dev/sdb", fstype="swap", mountpoints=["[SWAP]"]), "other", ["swap space, 100.0 GB"], "[SWAP]"),
        (
            device("/dev/sdb", fstype="LVM2_member", children=[device("/dev/mapper/x", type="lvm", fstype="ext4")]),
            "other",
            ["part of a volume group (LVM), 100.0 GB", "ext4, 100.0 GB"],
            "group of disks",
        ),
        (device("/dev/sdb", ro=True), "empty", [], "cannot be written"),
        (
            device("/dev/sdb", children=[part(1, partlabel="dpe-store", fstype="ext4", mountpoints=["/var/lib/dpe"])]),
            "data",
            ["an appliance's data, 100.0 GB"],
            "already",
        ),
        # A stick that an image was written to.
        (
            device("/dev/sdb", children=[part(1, partlabel="dpe-esp", fstype="vfat")]),
            "system",
            ["start-up files, 100.0 GB"],
            "system of an appliance",
        ),
        # An appliance's disk from elsewhere: it may be erased, but not by mistake.
        (
            device("/dev/sdb", children=[part(1, partlabel="dpe-store", fstype="ext4")]),
            "foreign",
            ["an appliance's data, 100.0 GB"],
            "",
        ),
    ],
)
def test_what_a_disk_is_used_for(settings: Settings, found: dict[str, Any], use: str, holds: list[str], refusal: str) -> None:
    (disk,) = disks(settings, found)
    assert (disk.use, disk.holds) == (use, holds)
    assert refusal in disk.refusal
    assert bool(refusal) == bool(disk.refusal)


def test_only_whole_disks_are_listed(settings: Settings) -> None:
    listed = disks(
        settings,
        SYSTEM,
        device("/dev/zram0"),
        device("/dev/sr0", type="rom"),
        device("/dev/loop0", type="loop"),
        device("/dev/sdc", size=0),
    )
    assert [(disk.path, disk.name, disk.serial) for disk in listed] == [("/dev/vda", "QEMU DISK", "S1")]


@pytest.mark.badinput
@pytest.mark.parametrize("said", ["lsblk: failed", json.dumps({"blockdevices": [device("/dev/sdb"), part(1, partlabel="dpe-a")]})])
def test_nonsense_of_lsblk_is_an_error(settings: Settings, said: str) -> None:
    """And so is a list of disks and partitions side by side, in which the appliance's own disk would look like any other."""
    with pytest.raises(Unavailable, match="cannot be listed"):
        inventory.disks(settings, said)


def test_lsblk_is_asked_for_a_tree(settings: Settings) -> None:
    """Which it makes only when the name is asked for, from util-linux 2.39 on."""
    assert block_devices.COLUMNS.split(",")[0] == "NAME"


def test_only_a_file_system_that_nobody_uses_could_hold_backups() -> None:
    ours = part(1, partlabel="dpe-data", fstype="ext4", uuid="a1")
    plugged = device("/dev/sdb", model="Stick", children=[part(1, name="sdb1", fstype="vfat", label="OLD", uuid="b2", size=8 * GB)])
    mounted = device("/dev/sdc", children=[part(1, fstype="xfs", uuid="c3", mountpoints=["/srv"]), part(2, fstype="swap", uuid="c4")])
    listing = json.dumps({"blockdevices": [device("/dev/vda", children=[ours]), plugged, mounted, device("/dev/sdd", uuid="d5")]})
    assert appliance_backup.disks(listing) == [Volume(uuid="b2", name="sdb1", label="OLD", size="8.0 GB", model="Stick")]


EMPTY = Disk("/dev/sdb", "SSD", "X-1", 100 * GB, "empty", [])
FULL = Disk("/dev/sdb", "SSD", "X-1", 100 * GB, "foreign", ["ext4, 100.0 GB"])


@pytest.mark.badinput
@pytest.mark.parametrize(
    ("disk", "typed", "needed", "blank", "error", "says"),
    [
        (EMPTY, "", GB, True, None, ""),
        (FULL, "", GB, False, BadInput, "would be erased. Nothing was done. To erase it all, type X-1"),
        (FULL, "x-1", GB, False, BadInput, "type X-1"),
        (FULL, " X-1 ", GB, False, None, ""),
        (EMPTY, "", GB, False, BadInput, "something that the appliance does not know"),
        (EMPTY, "", 99 * GB, True, Conflict, "larger disk"),
        (Disk("/dev/sda", "SSD", "X-1", 100 * GB, "system", [], "The appliance itself is on it."), "X-1", GB, False, Conflict, "itself"),
        (Disk("/dev/sdb", "USB disk", "", 100 * GB, "foreign", ["FAT"]), "USB disk", GB, False, None, ""),
        (Disk("/dev/sdb", "USB disk", "", 100 * GB, "foreign", ["FAT"]), "", GB, False, BadInput, "type USB disk"),
    ],
)
def test_a_disk_with_something_on_it_is_erased_only_by_who_says_which(
    disk: Disk, typed: str, needed: int, blank: bool, error: type[Exception] | None, says: str
) -> None:
    if error is None:
        inventory.refuse(disk, typed, needed, blank=blank)
    else:
        with pytest.raises(error, match=says):
            inventory.refuse(disk, typed, needed, blank=blank)


@pytest.mark.parametrize(("at", "blank"), [(None, True), (0, False), (1000, False), (-1, False)])
def test_a_disk_that_holds_what_nobody_knows_is_not_blank(tmp_path: Path, at: int | None, blank: bool) -> None:
    disk = tmp_path / "disk"
    content = bytearray(5 << 20)
    if at is not None:
        content[at] = 1
    disk.write_bytes(content)
    assert inventory.is_blank(disk) is blank


# -- health ------------------------------------------------------------------------------------------


WELL = {"smart_status": {"passed": True}, "power_on_time": {"hours": 1200}, "temperature": {"current": 31}}


@pytest.mark.parametrize(
    ("said", "healthy", "words"),
    [
        ({}, None, "does not tell"),
        (WELL, True, "well: 1200 hours in use, 31 °C"),
        ({"smart_status": {"passed": False}}, False, "failing. Replace it soon"),
        ({**WELL, "ata_smart_attributes": {"table": [{"id": 5, "raw": {"value": 12}}]}}, False, "12 sectors were replaced"),
        ({**WELL, "ata_smart_attributes": {"table": [{"id": 5, "raw": {"value": 0}}]}}, True, "well"),
        ({**WELL, "nvme_smart_health_information_log": {"percentage_used": 3, "media_errors": 0}}, True, "3 % worn"),
        ({**WELL, "nvme_smart_health_information_log": {"critical_warning": 1, "media_errors": 7}}, False, "7 errors in its memory"),
    ],
)
def test_how_a_disk_says_it_is(said: dict[str, Any], healthy: bool | None, words: str) -> None:
    found, told = inventory.judge(said)
    assert found is healthy
    assert words in told


def test_a_disk_that_begins_to_fail_is_said_once_and_where_it_matters(opened: Settings) -> None:
    listing = json.dumps({"blockdevices": [device("/dev/sdb", model="Old", serial="X-1")]})
    said: dict[str, Any] = dict(WELL)

    def events() -> int:
        return Event.select().where(Event.kind == "disk.failing").count()

    inventory.watch(opened, lambda _: said, listing)
    assert (events(), inventory.problems(opened)) == (0, [])
    said = {"smart_status": {"passed": False}}
    for _ in range(2):
        inventory.watch(opened, lambda _: said, listing)
    assert events() == 1
    assert Event.select().where(Event.kind == "disk.failing").get().object == "disk:X-1"
    (problem,) = inventory.problems(opened)
    assert problem.startswith("Old: It says that it is failing")
    assert inventory.disks(opened, listing)[0].healthy is False


# -- room ----------------------------------------------------------------------------------------------


class Statvfs:
    """A file system of 8 GiB, of which so many MiB are free, and the ballast takes its part."""

    def __init__(self, settings: Settings, free: int) -> None:
        self.settings, self.free = settings, free

    def __call__(self, path: Path) -> Any:
        left = self.free - (ballast.held(self.settings) >> 20)
        return type("Found", (), {"f_blocks": 8192, "f_bfree": left, "f_bavail": left, "f_frsize": 1 << 20})


def test_room_is_given_out_when_the_disk_is_full_and_taken_back(opened: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = Statvfs(opened, 4000)
    monkeypatch.setattr(ballast.os, "statvfs", disk)

    def look(free: int) -> tuple[int, bool]:
        """How many MiB are kept, and whether the disk counts as full."""
        disk.free = free
        ballast.keep_ballast(opened)
        return ballast.held(opened) >> 20, ballast.room(opened).full

    assert look(4000) == (256, False)
    assert ballast.file(opened).stat().st_blocks * 512 >= 256 << 20
    assert look(300) == (256, False)  # 44 beside what is kept
    assert look(280) == (224, True)  # a part; 56 are free then
    assert look(280) == (224, True)
    assert look(700) == (224, True)  # not to and fro: 512 would have to be free
    assert look(800) == (256, False)
    assert [event.kind for event in Event.select().order_by(Event.id)] == ["storage.full", "storage.room"]
    full = Event.select().where(Event.kind == "storage.full").get()
    assert "Server > Storage" in full.data["hint"]


@pytest.mark.lost
def test_who_writes_without_end_gets_it_in_parts_and_never_the_last(opened: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = Statvfs(opened, 4000)
    monkeypatch.setattr(ballast.os, "statvfs", disk)
    ballast.keep_ballast(opened)
    kept = []
    for _ in range(9):
        disk.free = ballast.held(opened) >> 20  # whatever was free has been written to, by root
        ballast.keep_ballast(opened)
        kept.append(ballast.held(opened) >> 20)
    assert kept == [224, 192, 160, 128, 96, 64, 32, 32, 32]
    assert Event.select().where(Event.kind == "storage.full").count() == 1


@pytest.mark.lost
@pytest.mark.parametrize(("free", "left"), [(0, 0), (2, 32)])
def test_the_last_is_for_a_start_on_a_disk_that_is_full(settings: Settings, monkeypatch: pytest.MonkeyPatch, free: int, left: int) -> None:
    ballast.file(settings).write_bytes(b"")
    os.truncate(ballast.file(settings), 32 << 20)
    monkeypatch.setattr(ballast.os, "statvfs", Statvfs(settings, 32 + free))
    ballast.give_for_start(settings)
    assert ballast.held(settings) >> 20 == left


@pytest.mark.lost
def test_the_catalog_is_given_room_of_its_own_while_there_is_some(opened: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[bool] = []
    monkeypatch.setattr(database, "keep_slack", lambda: given.append(True))
    ballast.keep_slack(opened)
    ballast.mark(opened).touch()
    ballast.keep_slack(opened)
    opened.catalog.unlink()
    ballast.mark(opened).unlink()
    ballast.keep_slack(opened)
    assert given == [True]


def test_a_disk_that_is_full_from_the_begin_is_said(opened: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ballast.os, "statvfs", Statvfs(opened, 100))
    for _ in range(2):
        ballast.keep_ballast(opened)
    assert not ballast.file(opened).exists()
    assert ballast.room(opened).full
    assert Event.select().count() == 1
    assert any("full" in said for said in inventory.problems(opened))
    said = status.facts(Nothing(), Host(opened, "")).problems
    assert len([one for one in said if "The disk is" in one]) == 1, said  # on the screen, which has little room


def test_the_host_goes_on_without_a_catalog(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.catalog.write_bytes(b"no catalog at all" * 100)
    monkeypatch.setattr(ballast.os, "statvfs", Statvfs(settings, 100))
    ballast.keep_ballast(settings)
    assert ballast.mark(settings).exists()


# -- a second disk, and factory reset --------------------------------------------------------------------


@pytest.mark.badinput
@pytest.mark.parametrize(("verb", "args"), [("storage.use", {"disk": "/dev/vdb"}), ("reset.begin", {})])
def test_only_the_image_erases_disks(settings: Settings, verb: str, args: dict[str, str]) -> None:
    with pytest.raises(Unavailable, match="a Debian of your own"):
        used(verb, Host(settings), **args)


@pytest.fixture
def twins(tmp_path: Path) -> Path:
    """/sys/class/block of a server with the appliance on its disk, on a stick, and a disk of something else."""
    (listed := tmp_path / "block").mkdir()
    for disk, names in (("sda", ["dpe-esp", "dpe-a", "dpe-b"]), ("sdb", ["dpe-esp", "dpe-a"]), ("sdc", ["root", ""])):
        (tmp_path / "devices" / disk).mkdir(parents=True)
        (listed / disk).symlink_to(tmp_path / "devices" / disk)
        for number, name in enumerate(names, 1):
            folder = tmp_path / "devices" / disk / f"{disk}{number}"
            folder.mkdir()
            (folder / "partition").write_text(f"{number}\n")
            (folder / "uevent").write_text(f"DEVTYPE=partition\nPARTN={number}\n" + f"PARTNAME={name}\n" * bool(name))
            (listed / folder.name).symlink_to(folder)
    return listed


@pytest.mark.badinput
@pytest.mark.usefixtures("in_image")
def test_a_second_appliance_in_the_same_server_is_named_and_nothing_is_written(
    settings: Settings, tmp_path: Path, twins: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their partitions have the same names; who booted from the stick would erase or update the disk."""
    note, crowd = tmp_path / "note.json", image.crowd(twins)
    assert "several disks of this server (sda, sdb)" in crowd
    monkeypatch.setattr(image, "crowd", lambda: crowd)
    monkeypatch.setattr(reset, "write_note", lambda said: durable.write(note, "{}"))
    monkeypatch.setattr(reset, "run", lambda *_, **__: pytest.fail("it restarts"))
    for verb, args in (("reset.begin", {}), ("update.install", {"version": "2.0"})):
        with pytest.raises(Conflict, match=r"sda, sdb.*leave only the right disk"):
            used(verb, Host(settings, "ada"), **args)
    assert not note.exists()
    assert "sda, sdb" in inventory.problems(settings)[0]


def test_one_appliance_in_a_server_is_no_crowd(twins: Path) -> None:
    (twins / "sdb2").unlink()
    assert image.crowd(twins) == ""
    assert image.crowd() == ""  # and this machine is none


@pytest.mark.crash
@pytest.mark.usefixtures("in_image")
def test_a_reset_that_meets_a_second_appliance_erases_neither(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Somebody plugged it in while the server restarted."""
    ran = list[str]()
    monkeypatch.setattr(reset, "read_note", lambda: reset.Note(thorough=False))
    monkeypatch.setattr(reset, "run", lambda command, **_: ran.append(command[0]) or "")
    monkeypatch.setattr(image, "crowd", lambda: "An appliance is on several disks.")
    with pytest.raises(SystemExit):
        reset.main()
    assert ran == ["udevadm"]
    assert "not done: An appliance is on several disks." in capsys.readouterr().err


@pytest.fixture
def in_image(monkeypatch: pytest.MonkeyPatch) -> None:
    built = image.Image.model_validate_json('{"version": "1", "built_at": "2026-11-21T10:00:00Z", "scenario": "notebook"}')
    monkeypatch.setattr(image, "boot_image", lambda *_: built)


@pytest.mark.badinput
@pytest.mark.usefixtures("in_image")
def test_a_third_disk_is_refused(settings: Settings) -> None:
    second_disk.write_second_disk(settings, second_disk.Store(uuid="u", name="Big", state="used"))
    with pytest.raises(Conflict, match="lies on a second disk already: Big"):
        used("storage.use", Host(settings), disk="/dev/vdb")


def test_a_disk_that_is_missing_is_named(settings: Settings) -> None:
    assert second_disk.missing(settings) == ""
    second_disk.write_second_disk(settings, second_disk.Store(uuid="u", name="Big X-1", state="moving"))
    assert second_disk.missing(settings) == ""  # the old one is still whole
    second_disk.write_second_disk(settings, second_disk.Store(uuid="u", name="Big X-1", state="used"))
    assert "Big X-1" in second_disk.missing(settings)
    second_disk.file(settings).write_text("{")
    assert "cannot be read" in second_disk.missing(settings)


@pytest.mark.crash
def test_nothing_begins_with_an_empty_catalog_when_the_disk_is_missing(settings: Settings) -> None:
    used = second_disk.Store(uuid="u", name="Big", state="used")
    second_disk.write_second_disk(settings, used)
    with pytest.raises(Unavailable, match="Big"):
        second_disk.place(settings, None, used)
    assert second_disk.read_second_disk(settings) == used


@pytest.mark.crash
def test_a_move_to_a_disk_that_is_gone_is_given_up(settings: Settings) -> None:
    moving = second_disk.Store(uuid="u", name="Big", state="moving")
    second_disk.write_second_disk(settings, moving)
    second_disk.place(settings, None, moving)
    assert second_disk.read_second_disk(settings) is None


@pytest.mark.usefixtures("in_image")
def test_the_note_of_a_factory_reset_is_written_before_the_restart(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    second_disk.write_second_disk(settings, second_disk.Store(uuid="second", name="Big", state="used"))
    note, ran = tmp_path / "note.json", list[list[Any]]()

    def run(command: list[Any], **_: Any) -> str:
        assert note.exists()
        ran.append(command)
        return ""

    monkeypatch.setattr(reset, "run", run)
    monkeypatch.setattr(reset, "write_note", lambda said, path=note: durable.write(path, said.model_dump_json()))
    used("reset.begin", Host(settings, "ada"), thorough=True)
    assert reset.read_note(note) == reset.Note(thorough=True, second="second")
    assert ran[0][0] == "systemd-run"
    assert "reboot" in ran[0]


@pytest.mark.crash
@pytest.mark.parametrize("content", ["", "{", '{"thorough": "maybe'])
def test_half_a_note_erases_nothing(tmp_path: Path, content: str) -> None:
    note = tmp_path / "note.json"
    note.write_text(content)
    assert reset.read_note(note) is None
    assert not note.exists()
    assert reset.read_note(note) is None
