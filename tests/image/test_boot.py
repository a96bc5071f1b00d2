"""The image starts on either kind of firmware, up to the page that sets it up, and its disk becomes what it should be."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.image.booted import Booted

pytestmark = [pytest.mark.image, pytest.mark.timeout(3600)]
GIB = 1 << 30
Boot = Callable[..., Booted]
SECURE_BOOT = "/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"  # four bytes of attributes, then 0 or 1

# The same system without the appliance: a Debian that starts the same kernel up to a prompt.
PLAIN = {
    "systemd.extra-unit.dpe.target": "[Unit]\nDescription=Nothing of the appliance\n",
    "systemd.unit-dropin.multi-user.target~plain": "[Unit]\nWants=serial-getty@ttyS0.service\n",
}


def partitions(server: Booted) -> dict[str, dict[str, str]]:
    """The partitions of the first disk by their labels."""
    listed = json.loads(server.shell("lsblk --json --list --bytes --output PARTLABEL,SIZE,FSTYPE,MOUNTPOINT /dev/vda"))
    return {each["partlabel"]: each for each in listed["blockdevices"] if each["partlabel"]}


@pytest.mark.parametrize("firmware", ["bios", "uefi", "secure"])
def test_it_boots_to_the_setup_page(boot: Boot, firmware: str, tmp_path: Path) -> None:
    server = boot(firmware=firmware)
    page = server.wait_page()
    assert "<form" in page
    server.wait_shell()

    # Slot B and data were made, and data fills the disk.
    disk = partitions(server)
    assert set(disk) == {"dpe-bios", "dpe-esp", "dpe-a", "dpe-b", "dpe-data"}
    assert int(disk["dpe-a"]["size"]) == int(disk["dpe-b"]["size"]) == 4 * GIB
    left = 24 * GIB - sum(int(each["size"]) for each in disk.values())
    assert 0 < left < 8 << 20, f"{left} bytes of the disk belong to nothing"
    assert disk["dpe-data"]["mountpoint"] == "/var"
    data = int(server.shell("stat --file-system --format '%b %S' /var | awk '{ print $1 * $2 }'"))
    assert data > 0.95 * int(disk["dpe-data"]["size"]), "the file system does not fill its partition"

    # The system itself cannot be written to, neither by mistake nor by a break-in.
    assert disk["dpe-a"]["mountpoint"] == "/"
    for place in ("/", "/etc", "/usr/lib/dpe", "/root"):
        assert "Read-only" in server.shell(f"touch {place}/mark 2>&1 || true")
    assert server.shell("systemctl --failed --no-legend --plain").strip() == ""
    state = server.shell(f"od -An -tu1 -j4 {SECURE_BOOT} 2>/dev/null || echo 0").split()
    assert state == ["1" if firmware == "secure" else "0"]
    assert server.screenshot(tmp_path / "screen.png").stat().st_size > 1000


def test_it_comes_back_as_itself(boot: Boot) -> None:
    """Switched off in order, and after a cut in the middle of its first start."""
    server = boot(firmware="uefi")
    server.wait_shell()
    server.power_cut()  # slot B and data have only just been made
    server.start()
    server.wait_page()
    first = server.shell("cat /etc/machine-id")
    code = server.setup_code()
    server.shut_down()
    server.start()
    server.wait_page()
    assert server.shell("cat /etc/machine-id") == first
    assert server.setup_code() == code
    assert f"systemd.machine_id={first.strip()}" in server.shell("cat /proc/cmdline")
    assert server.shell("systemctl --failed --no-legend --plain").strip() == ""


def test_figures(boot: Boot, capsys: pytest.CaptureFixture[str]) -> None:
    """Those of the README: memory of everything that is not a machine, and the way to the wizard against that of a plain Debian."""
    plain = boot("plain", credentials=PLAIN, shell=False)
    plain.wait_serial(r"login:")
    to_prompt, plain_work = plain.seconds(), plain.work()
    plain.power_cut()
    server = boot("appliance", shell=False)
    server.wait_page()
    to_wizard, server_work = server.seconds(), server.work()
    server.power_cut()
    again = boot("appliance")
    again.wait_page()
    again.wait_idle()
    figures = {
        "power_on_to_prompt_of_plain_debian_s": round(to_prompt, 1),
        "power_on_to_wizard_s": round(to_wizard, 1),
        "ratio": round(to_wizard / to_prompt, 2),
        "ratio_of_processor_seconds": round(server_work / plain_work, 2),
        "idle_memory_mib": again.memory_used(),
    }
    with capsys.disabled():
        print(f"\n{json.dumps(figures)}")
    assert figures["idle_memory_mib"] < 400
    assert server_work < 4 * plain_work  # not time itself: the two starts may find the machine differently busy
