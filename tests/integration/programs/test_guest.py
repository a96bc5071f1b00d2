"""What is said to a machine, and what sealing removes."""

from pathlib import Path

import pytest

from appliance.run import run
from appliance.seeds import guest
from appliance.settings import REPOSITORY

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f alice@home"


def lines(full_name: str = "Alice", keys: tuple[str, ...] = (KEY,)) -> list[str]:
    return guest.personalise_input(user="user", full_name=full_name, ssh_keys=keys, owner="alice").decode().splitlines()


def test_the_lines_are_those_that_the_script_reads() -> None:
    assert lines() == [
        "user user",
        "full_name Alice",
        'owner {"name": "alice", "full_name": "Alice", "user": "user"}',
        f"ssh_key {KEY}",
    ]
    script = (REPOSITORY / "playbooks/roles/guest/files/root/usr/lib/dpe/personalise").read_text()
    for line in lines():
        assert f"\n    {line.split()[0]})" in script


@pytest.mark.badinput
@pytest.mark.parametrize("name", ["Eve\nuser root", "Eve:0:0", "Eve\x00", "a,b", ":::"])
def test_a_name_cannot_become_another_line_or_field(name: str) -> None:
    said = lines(full_name=name)
    assert len(said) == 4
    assert not set(said[1].removeprefix("full_name ")) & set(":,\n\x00")
    assert said[1] != "full_name "


def test_sealing_leaves_nothing_that_two_machines_must_not_share(tmp_path: Path) -> None:
    gone = [
        "etc/ssh/ssh_host_rsa_key", "etc/ssh/ssh_host_ed25519_key.pub", "var/lib/dbus/machine-id", "var/lib/systemd/random-seed",
        "usr/sbin/policy-rc.d", "var/log/apt/term.log", "var/lib/apt/lists/deb_InRelease", "var/cache/apt/pkgcache.bin",
        "var/tmp/x", "root/.bash_history", "home/user/.bash_history", "boot/vmlinuz-6.1", "boot/initrd.img-6.1", "etc/passwd-",
        "etc/ssl/private/ssl-cert-snakeoil.key", "etc/ssl/certs/ssl-cert-snakeoil.pem",
    ]  # fmt: skip
    kept = ["etc/passwd", "etc/ssh/sshd_config", "home/user/work", "boot/vmlinuz", "boot/initrd"]
    for name in [*gone, *kept, "etc/machine-id"]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("of the build")
    # As a package might leave it; what it points to is the host's.
    outside = tmp_path.parent / f"{tmp_path.name}-outside"
    outside.write_text("of the host")
    (tmp_path / "etc/resolv.conf").symlink_to(outside)
    run([REPOSITORY / "playbooks/files/seal.sh", tmp_path])
    assert [name for name in gone if (tmp_path / name).exists()] == []
    assert [name for name in kept if not (tmp_path / name).exists()] == []
    assert (tmp_path / "etc/machine-id").read_bytes() == b""
    assert (tmp_path / "etc/resolv.conf").read_bytes() == b""
    assert (tmp_path / "etc/hostname").read_text() == "localhost\n"
    assert outside.read_text() == "of the host"
