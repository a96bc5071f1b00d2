"""A second disk and factory reset, on the image itself, with power cuts."""

import json
import os
import random
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from appliance.run import run
from tests import world
from tests.image.booted import Booted, patience, wait_for
from tests.image.forms import Visitor, setup_code

pytestmark = [pytest.mark.image, pytest.mark.timeout(3600)]
Boot = Callable[..., Booted]
GIB = 1 << 30
ADMIN = "grace"
SECRET = "the-secret-of-a-school-that-must-go"


def remember(server: Booted, folder: str) -> None:
    """Put the secret into the catalog, and onto a data disk."""
    server.python(
        "catalog.open(settings.catalog)\nwith catalog.write(): catalog.options.put('title', " + repr(SECRET) + ")\nprint('1')",
    )
    server.shell(f"for n in $(seq 2000); do echo {SECRET}; done > {folder}/data/secret.qcow2; sync")


def title(server: Booted) -> str:
    found: str = server.python("catalog.open(settings.catalog); print(json.dumps(catalog.options.get('title')))")
    return found


def ended(server: Booted, operation: str) -> dict[str, Any]:
    """An operation of dpe-host's, when it has ended."""

    def look() -> dict[str, Any] | None:
        found: dict[str, Any] = server.ask("operation", id=operation)
        return found if found["state"] != "running" else None

    return wait_for(look, 300, f"the end of operation {operation}")


def up(server: Booted) -> Booted:
    server.wait_shell()
    server.wait_page()
    return server


def holds(disk: Path, text: str, work: Path) -> bool:
    """Whether the text is anywhere on a disk."""
    raw = work / "raw"
    run(["qemu-img", "convert", "-O", "raw", disk, raw], timeout=1200)
    wanted, at, end = text.encode(), 0, raw.stat().st_size
    with raw.open("rb") as reading:
        while at < end:
            try:
                at = os.lseek(reading.fileno(), at, os.SEEK_DATA)
            except OSError:
                break
            until = os.lseek(reading.fileno(), at, os.SEEK_HOLE)
            while at < until:
                reading.seek(at)
                if wanted in reading.read(min(64 << 20, until - at) + len(wanted)):
                    raw.unlink()
                    return True
                at += min(64 << 20, until - at)
    raw.unlink()
    return False


def disk_of(raw: Path, folder: Path) -> Path:
    """A disk with the bytes of a file, which goes."""
    run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, disk := folder / f"{raw.name}.qcow2"])
    raw.unlink()
    return disk


def others(folder: Path) -> list[Path]:
    """Two disks of somebody's: a file system, and what neither partitions nor file systems of any known kind are."""
    photos, unknown = folder / "photos", folder / "unknown"
    (content := folder / "content").mkdir()
    (content / "wedding.jpg").write_bytes(os.urandom(1 << 16))
    run(["mke2fs", "-q", "-t", "ext4", "-L", "photos", "-d", content, photos, "10G"])
    with unknown.open("wb") as out:
        out.write(os.urandom(1 << 20))
        out.truncate(10 * GIB)
    return [disk_of(photos, folder), disk_of(unknown, folder)]


def test_a_second_disk_is_given_to_data_and_missed_when_it_is_gone_and_others_are_left_alone(
    boot: Boot, came_up: Path, tmp_path: Path
) -> None:
    second = tmp_path / "second.qcow2"
    run(["qemu-img", "create", "-q", "-f", "qcow2", second, "10G"])
    foreign = others(tmp_path)
    before = [shutil.copy(disk, tmp_path / f"{disk.name}.before") for disk in foreign]
    server = up(boot(disks=[second, *foreign], like=came_up))
    disks = {disk["serial"]: disk for disk in server.ask("storage.disks")}  # the kernel's names for them come as they come
    place = {serial: disk["path"] for serial, disk in disks.items()}
    assert (disks["disk0"]["use"], disks["disk1"]["use"]) == ("system", "empty")
    assert "“photos”" in disks["disk2"]["holds"][0]

    # What holds something is not erased for the asking, nor by whoever means another disk.
    for serial in ("disk2", "disk3"):
        for typed in ("", "disk1"):
            operation = ended(server, server.ask("storage.use", disk=place[serial], typed=typed)["operation"])
            assert operation["state"] == "failed"
            assert "Nothing was done." in operation["error"]
            assert operation["hint"] == f"To erase it all, type {serial}."
    operation = ended(server, server.ask("storage.use", disk=place["disk0"], typed="disk0")["operation"])
    assert "The appliance itself is on it." in operation["error"]

    remember(server, "/var/lib/dpe")
    code = setup_code(server)
    operation = server.ask("storage.use", disk=place["disk1"])["operation"]
    first_boot = server.shell("cat /proc/sys/kernel/random/boot_id")

    def moved() -> bool | None:
        try:
            return True if server.shell("cat /proc/sys/kernel/random/boot_id") != first_boot else None
        except (OSError, AssertionError):
            return None

    wait_for(moved, 300, "the restart")
    up(server)
    whole = "lsblk -n -o SERIAL,TYPE -s $(findmnt -n -v -o SOURCE {}) | awk '$2 == \"disk\" {{ print $1 }}'"
    assert server.shell(whole.format("/var/lib/dpe")).strip() == "disk1"
    assert server.shell(whole.format("/var/lib/dpe/host")).strip() == "disk0"
    assert title(server) == SECRET
    assert setup_code(server) == code
    assert server.python(f"print(json.dumps(Client(settings).operation({operation!r}).state))") == "done"
    assert server.shell("ls /run/dpe-store/first").split() == ["host", "run"]  # its room is free

    server.power_cut()
    server.disks = []
    server.start()
    server.wait_shell()
    wait_for(lambda: server.shell("systemctl is-failed dpe-store.service || true").strip() == "failed" or None, 300, "the missing disk")
    wait_for(lambda: server.shell("ls /var/lib/dpe/run/host.sock || true").startswith("/var") or None, 300, "dpe-host, which says so")
    assert "disk1" in "".join(server.ask("storage.problems"))
    for unit in ("dpe-engine", "dpe-web"):
        assert server.shell(f"systemctl is-active {unit} || true").strip() != "active"
    server.power_cut()
    stick = tmp_path / "stick.qcow2"
    run(["qemu-img", "create", "-q", "-f", "qcow2", stick, "1G"])
    server.disks = [second, stick]
    server.start()
    up(server)
    assert title(server) == SECRET
    another_appliance_is_not_erased_in_its_place(server)
    server.power_cut()
    for disk, copy in zip(foreign, before, strict=True):
        run(["qemu-img", "compare", "-q", disk, copy], timeout=300)


def another_appliance_is_not_erased_in_its_place(server: Booted) -> None:
    """Somebody plugs in what has the same names of partitions."""
    assert server.ask("storage.problems") == []
    server.shell(
        "printf 'label: gpt\\nname=dpe-a, size=100M\\nname=dpe-data\\n' | sfdisk --quiet /dev/disk/by-id/virtio-disk2 && udevadm settle"
    )
    assert "on several disks" in server.ask("storage.problems")[0]
    refused = server.python(
        "try: Client(settings, 'the test').ask('reset.begin')\nexcept Exception as error: print(json.dumps(f'{type(error).__name__}: {error}'))"
    )
    assert refused.startswith("Conflict: An appliance is on several disks"), refused
    assert server.shell("ls /boot/efi").split() == ["EFI"]


def fill(server: Booted) -> None:
    """Take all the room that is not kept back for root and the page, as downloads for seeds."""
    server.shell(
        "for n in $(seq 20); do free=$(stat --file-system --format %a /var); [ $free -gt 0 ] || exit 0;"
        " fallocate --length $((free * 4096)) /var/lib/dpe/cache/download-$(date +%s%N) || true; done; exit 1"
    )


def test_a_full_data_partition_leaves_the_admin_s_page_alive_and_says_what_to_delete(boot: Boot, came_up: Path) -> None:
    server = up(boot(like=came_up))
    processes = "systemctl show --property=Id,ActiveState,MainPID dpe-engine dpe-web dpe-host dpe-libvirtd"
    before = server.shell(processes)
    assert before.count("ActiveState=active") == 4
    code = setup_code(server)
    wishes = {"name": ADMIN, "full_name": "", "password": world.PASSWORD, "title": "School", "time_zone": "UTC", "pools": {"small": [0, 1]}}
    server.python(
        "from appliance.services import setup\ncatalog.open(settings.catalog)\n"
        f"setup.finish({code!r}, setup.Wishes(**json.loads({json.dumps(wishes)!r})), '::1')\nprint(1)",
    )
    ballast = "test $(stat -c %s /var/lib/dpe/ballast) -ge $((256 << 20)) && echo kept || echo given"
    wait_for(lambda: server.shell(ballast).strip() == "kept" or None, 60, "the room kept for this")
    fill(server)
    wait_for(lambda: server.shell(ballast).strip() == "given" or None, 60, "the room that was kept for this")
    fill(server)  # machines that write fill that, too
    refused = server.shell(
        "setpriv --reuid=65534 --regid=65534 --clear-groups dd if=/dev/zero of=/var/tmp/one bs=4096 count=1 2>&1 || true"
    )
    assert "No space left on device" in refused
    server.python(
        "catalog.open(settings.catalog)\nwith catalog.write(): catalog.Class.update(buffer=1).where(catalog.Class.name == 'small').execute()\nprint(1)",
    )

    grace = Visitor(server)
    assert "The disk is full:" in grace.sign_in(ADMIN).text
    page = grace.ask("/admin/server/storage/")
    assert "Downloads for building seeds" in page.text
    assert server.shell("pidof qemu-system-x86_64 || true").strip() == ""
    page = grace.send(page, "/storage/clean")
    assert "are free again" in page.text, page.said
    wait_for(lambda: server.shell(ballast).strip() == "kept" or None, 60, "the room that is kept for the next time")
    assert "The disk is full:" not in grace.ask("/admin/").text
    wait_for(lambda: server.shell("pidof qemu-system-x86_64 || true").strip() or None, 300, "a machine, for which there is room now")
    assert server.shell(processes) == before
    assert server.ask("storage.problems") == []


@pytest.mark.parametrize("thorough", [False, True])
def test_a_factory_reset_leaves_nothing_even_when_the_power_goes(boot: Boot, came_up: Path, tmp_path: Path, *, thorough: bool) -> None:
    server = up(boot(like=came_up))
    code = setup_code(server)
    remember(server, "/var/lib/dpe")
    server.shell("cp /var/lib/dpe/data/secret.qcow2 /var/log/secret; sync")
    server.ask("reset.begin", thorough=thorough)
    wait_for(lambda: "Booting `DPE" in server.serial() or None, 300, "the restart")
    time.sleep(random.Random(os.environ.get("DPE_TEST_SEED", "6")).uniform(0, patience(20)))  # before, in the middle of it, or just after
    server.power_cut()
    server.start()
    up(server)
    assert setup_code(server) != code
    assert title(server) != SECRET
    assert "dpe-reset" not in server.shell("ls /boot/efi")
    server.shut_down()
    assert not holds(server.disk, SECRET, tmp_path)
