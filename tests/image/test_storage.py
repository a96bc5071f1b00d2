"""A second disk and factory reset, on the image itself, with power cuts."""

import base64
import json
import os
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from appliance.run import run
from tests.image.booted import Booted, patience, wait_for

pytestmark = [pytest.mark.image, pytest.mark.timeout(3600)]
Boot = Callable[..., Booted]
SECRET = "the-secret-of-a-school-that-must-go"

ASK = """
import json, sys
from appliance import catalog
from appliance.host.client import Client
from appliance.settings import load
settings = load()
"""


def inside(server: Booted, code: str) -> Any:
    """What a few lines of Python print inside, as JSON; `settings` and `Client` are there."""
    packed = base64.b64encode((ASK + code).encode()).decode()
    command = f"set -a; . /etc/dpe/environment; cd /usr/lib/dpe && echo {packed} | base64 -d | .venv/bin/python -"
    return json.loads(server.shell(command, 120).splitlines()[-1])


def ask(server: Booted, verb: str, **args: Any) -> Any:
    """Use a verb of dpe-host, as the screen's menu does."""
    return inside(server, f"print(json.dumps(Client(settings, 'a test').ask({verb!r}, **json.loads({json.dumps(args)!r}))))")


def remember(server: Booted, folder: str) -> None:
    """Put the secret into the catalog, and onto a data disk."""
    inside(
        server,
        "catalog.open(settings.catalog)\nwith catalog.write(): catalog.options.put('title', " + repr(SECRET) + ")\nprint('1')",
    )
    server.shell(f"for n in $(seq 2000); do echo {SECRET}; done > {folder}/data/secret.qcow2; sync")


def title(server: Booted) -> str:
    found: str = inside(server, "catalog.open(settings.catalog); print(json.dumps(catalog.options.get('title')))")
    return found


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


def test_a_second_disk_is_given_to_data_and_missed_when_it_is_gone(boot: Boot, tmp_path: Path) -> None:
    second = tmp_path / "second.qcow2"
    run(["qemu-img", "create", "-q", "-f", "qcow2", second, "10G"])
    server = up(boot(disks=[second]))
    disks = {disk["path"]: disk for disk in ask(server, "storage.disks")}
    assert (disks["/dev/vda"]["use"], disks["/dev/vdb"]["use"], disks["/dev/vdb"]["serial"]) == ("system", "empty", "disk1")
    remember(server, "/var/lib/dpe")
    code = server.shell("cat /var/lib/dpe/setup-code")
    task = ask(server, "storage.use", disk="/dev/vdb")["task"]
    first_boot = server.shell("cat /proc/sys/kernel/random/boot_id")

    def moved() -> bool | None:
        try:
            return True if server.shell("cat /proc/sys/kernel/random/boot_id") != first_boot else None
        except (OSError, AssertionError):
            return None

    wait_for(moved, 300, "the restart")
    up(server)
    assert server.shell("findmnt -n -o SOURCE /var/lib/dpe").strip() == "/dev/vdb1"
    assert server.shell("findmnt -n -o SOURCE /var/lib/dpe/host").strip().startswith("/dev/vda")
    assert title(server) == SECRET
    assert server.shell("cat /var/lib/dpe/setup-code") == code
    assert inside(server, f"print(json.dumps(Client(settings).task({task!r}).state))") == "done"
    assert server.shell("ls /run/dpe-store/first").split() == ["host", "run"]  # its room is free

    server.power_cut()
    server.disks = []
    server.start()
    server.wait_shell()
    wait_for(lambda: server.shell("systemctl is-failed dpe-store.service || true").strip() == "failed" or None, 300, "the missing disk")
    assert "disk1" in "".join(ask(server, "storage.problems"))
    for unit in ("dpe-engine", "dpe-web"):
        assert server.shell(f"systemctl is-active {unit} || true").strip() != "active"
    server.power_cut()
    server.disks = [second]
    server.start()
    up(server)
    assert title(server) == SECRET


@pytest.mark.parametrize("thorough", [False, True])
def test_a_factory_reset_leaves_nothing_even_when_the_power_goes(boot: Boot, tmp_path: Path, *, thorough: bool) -> None:
    server = up(boot())
    code = server.shell("cat /var/lib/dpe/setup-code")
    remember(server, "/var/lib/dpe")
    server.shell("cp /var/lib/dpe/data/secret.qcow2 /var/log/secret; sync")
    ask(server, "reset.begin", thorough=thorough)
    wait_for(lambda: server.serial().count("Booting `DPE") > 1 or None, 300, "the restart")
    time.sleep(random.Random(os.environ.get("DPE_TEST_SEED", "6")).uniform(0, patience(20)))  # before, in the middle of it, or just after
    server.power_cut()
    server.start()
    up(server)
    assert server.shell("cat /var/lib/dpe/setup-code") != code
    assert title(server) != SECRET
    assert "dpe-reset" not in server.shell("ls /boot/efi")
    server.shut_down()
    assert not holds(server.disk, SECRET, tmp_path)
