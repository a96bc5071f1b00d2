"""The booted image's processes: all there, each started again, and machines never in the way of the page."""

import contextlib
import http.client
from collections.abc import Callable
from pathlib import Path

import pytest

from appliance.host.system import processes
from tests.image.booted import Booted, wait_for

pytestmark = [pytest.mark.image, pytest.mark.timeout(3600)]
SERVICES = {part: names[-1] for part, (_, names) in processes.PARTS.items()}


@pytest.fixture
def server(boot: Callable[..., Booted], came_up: Path) -> Booted:
    made = boot(like=came_up)
    made.wait_page()
    return made


def prop(server: Booted, unit: str, name: str) -> str:
    return server.shell(f"systemctl show --property={name} --value {unit}").strip()


def test_units(server: Booted) -> None:
    """One boot for all of it: an emulated one takes its time."""
    every_process_works(server)
    machines_come_after_the_page(server)
    qemu_is_confined(server)
    the_firewall_is_up(server)
    what_is_killed_comes_back(server)
    server.shut_down()


def every_process_works(server: Booted) -> None:
    for part, unit in SERVICES.items():
        wait_for(lambda unit=unit: prop(server, unit, "ActiveState") == "active" or None, 60, part)  # type: ignore[misc]
    assert server.shell("systemctl --failed --no-legend --plain").strip() == ""
    assert prop(server, "dpe-engine.service", "WatchdogUSec") == "3min"
    assert prop(server, "dpe-web.service", "User") == "dpe-web"


def machines_come_after_the_page(server: Booted) -> None:
    ours = "/sys/fs/cgroup/dpe.slice"
    assert int(server.shell(f"cat {ours}/memory.min")) == 640 << 20
    assert int(server.shell(f"cat {ours}/dpe-web.service/memory.min")) == 192 << 20
    assert "dpe-machines.slice" in server.shell("cat /proc/$(pidof libvirtd)/cgroup")
    # One processor, wanted by the page's like and by a machine's like at the same time.
    run = "systemd-run --quiet --collect --property=AllowedCPUs=0 --slice"
    server.shell(f"{run}=dpe.slice --unit=like-page --property=CPUWeight=1000 sh -c 'while :; do :; done'")
    server.shell(f"{run}=dpe-machines.slice --unit=like-machine sh -c 'while :; do :; done'")
    used = server.shell(
        "a=$(systemctl show -P CPUUsageNSec like-page); b=$(systemctl show -P CPUUsageNSec like-machine); sleep 10;"
        " echo $(( $(systemctl show -P CPUUsageNSec like-page) - a )) $(( $(systemctl show -P CPUUsageNSec like-machine) - b ))"
    )
    page, machine = map(int, used.split())
    server.shell("systemctl stop like-page like-machine")
    assert page > 6 * machine, used


def qemu_is_confined(server: Booted) -> None:
    assert "dpe-qemu (enforce)" in server.shell("cat /sys/kernel/security/apparmor/profiles")
    qemu = "timeout 60 qemu-system-x86_64 -nodefaults -display none -machine none -monitor stdio"
    refused = server.shell(f"echo quit | {qemu} -drive file=/var/lib/dpe/catalog/catalog.db,format=raw,if=none,readonly=on 2>&1 || true")
    assert "Permission denied" in refused
    server.shell("mkdir -p /var/lib/dpe/machines/try && truncate -s 1M /var/lib/dpe/machines/try/try.qcow2")
    server.shell(f"echo quit | {qemu} -drive file=/var/lib/dpe/machines/try/try.qcow2,format=raw,if=none")
    server.shell("rm -r /var/lib/dpe/machines/try")


def the_firewall_is_up(server: Booted) -> None:
    listed = server.shell("nft list chain inet dpe input")
    assert "policy drop" in listed
    assert prop(server, "nftables.service", "ActiveState") == "active"


def what_is_killed_comes_back(server: Booted) -> None:
    for part, unit in SERVICES.items():
        before = prop(server, unit, "MainPID")
        server.shell(f"kill -9 {before}")

        def is_back(unit: str = unit, before: str = before) -> bool | None:
            told = server.shell(f"systemctl show --property=ActiveState,MainPID --value {unit}").split()
            return True if "active" in told and before not in told and "0" not in told else None

        wait_for(is_back, 120, part)
    assert server.shell("systemctl --failed --no-legend --plain").strip() == ""

    def answers() -> bool | None:
        with contextlib.suppress(OSError, http.client.HTTPException):
            return server.get("/healthz")[0] == 200 or None
        return None

    wait_for(answers, 120, "the page")
