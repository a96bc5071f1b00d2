"""The scripts that make a machine itself, run by a shell in a folder that stands for its /, with what they call noted instead of done."""

import os
import re
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.hypervisor import provider as hypervisor
from appliance.hypervisor.libvirt import disks, snapshots
from appliance.hypervisor.libvirt import guest as libvirt_guest
from appliance.settings import REPOSITORY
from tests.integration.programs.test_guest import lines
from tests.unit.hypervisor.test_provider import spec
from tests.waiting import until

SCRIPTS = REPOSITORY / "playbooks/roles/guest/files/root/usr/lib/dpe"
OURS = re.compile(r"(?<![\w.$}])/(?=(etc|dev|home|proc|run|sys|var|usr/lib/dpe|usr/sbin)\b)")
GROUPS = "sys/fs/cgroup/system.slice"
FREEZER = f"{GROUPS}/systemd-udevd.service/cgroup.freeze"
APPLICATION = f"{GROUPS}/web.service/cgroup.freeze"
PEOPLE = "sys/fs/cgroup/user.slice/cgroup.freeze"
AGENT = f"{GROUPS}/qemu-guest-agent.service/cgroup.freeze"
NOTED = '#!/bin/sh\necho "{name} $*" >> "{log}"\n{more}'


class Machine:
    """A machine's root folder."""

    def __init__(self, root: Path) -> None:
        self.root, self.log = root, root / "called"
        for folder in ("etc/dpe", "etc/ssh", "dev", "home/user/.ssh", "proc/sys/kernel", "run", "var/lib/systemd", "usr/sbin", "bin"):
            (root / folder).mkdir(parents=True)
        for name in ("sys/class/net/eth0", "usr/lib/dpe/fork.d", "usr/lib/dpe/data.d", "sys/bus/platform/drivers/vmgenid"):
            (root / name).mkdir(parents=True)
        for name in (FREEZER, APPLICATION, PEOPLE, AGENT):
            (root / name).parent.mkdir(parents=True)
            self.write(name, "0\n")
        for name in ("ip", "date", "systemctl", "perl", "usermod", "sync", "blkid", "e2fsck", "mount", "umount", "resize2fs", "chown"):
            self.program(root / "bin" / name, {"ip": "cat > /dev/null\n", "blkid": "echo ext4\n"}.get(name, ""))
        for script in SCRIPTS.iterdir():
            if script.is_file():
                copy = root / "usr/lib/dpe" / script.name
                copy.write_text(OURS.sub(f"{root}/", script.read_text()))
                copy.chmod(0o755)
        self.write("etc/machine-id", "the template's\n")
        self.write("proc/mounts", "/dev/vda / ext4 rw,noatime 0 0\n")
        self.write("proc/uptime", "71.02 130.11\n")

    def program(self, file: Path, more: str = "") -> None:
        """One that notes that it was called."""
        file.write_text(NOTED.format(name=file.name, log=self.log, more=more))
        file.chmod(0o755)

    def hook(self, name: str, more: str = "") -> Path:
        file = self.root / "usr/lib/dpe/fork.d" / name
        self.program(file, more)
        return file

    def run(self, script: str, input: bytes = b"", *, argument: str = "") -> "subprocess.CompletedProcess[str]":
        path = f"{self.root}/bin:{os.environ['PATH']}"
        command = [self.root / "usr/lib/dpe" / script, *filter(None, [argument])]
        return subprocess.run(command, input=input.decode(), env={**os.environ, "PATH": path}, capture_output=True, text=True, timeout=20)

    def still(self) -> None:
        done = self.run("still")
        assert (done.returncode, done.stderr) == (0, "")
        self.log.unlink()

    def called(self) -> list[str]:
        return self.log.read_text().splitlines() if self.log.exists() else []

    def read(self, name: str) -> str:
        return (self.root / name).read_text()

    def write(self, name: str, text: str) -> None:
        (self.root / name).write_text(text)

    def comes_to_call(self, call: str) -> None:
        """Wait until what goes on after the script calls this."""
        until(lambda: call in self.called())

    def comes_to_hold(self, name: str, text: str) -> None:
        """What nobody waits for goes on behind personalise's back."""
        until(lambda: self.read(name) == text)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path / "root")


SPEC = replace(spec(7), name="notebook-7")
IDENTITY = libvirt_guest._identity(SPEC)
SHELLS = "systemctl --no-block try-restart getty@tty1.service serial-getty@ttyS0.service"
MACHINE_ID = SPEC.id.replace("-", "")
DATA = "5f0c"


def test_what_the_provider_says_the_script_reads() -> None:
    script = (SCRIPTS / "personalise").read_text()
    keys = [line.split()[0] for line in libvirt_guest._identity(replace(SPEC, data=DATA)).decode().splitlines()]
    assert keys == ["time", "random", "machine_id", "hostname", "address", "data"]
    for key in {*keys, *(line.split()[0] for line in lines())}:
        assert f"\n    {key})" in script
        assert f"\n#   {key} " in script, "its head does not tell of it"


def test_no_two_machines_get_the_same_random_text() -> None:
    def told() -> bytes:
        return next(line for line in libvirt_guest._identity(SPEC).splitlines() if line.startswith(b"random "))

    assert told() != told()
    assert len(told()) == len("random ") + 64


def test_a_booted_machine_gets_name_and_address_and_keeps_what_it_made(machine: Machine) -> None:
    machine.hook("web")
    done = machine.run("personalise", IDENTITY)
    assert (done.returncode, done.stderr) == (0, "")
    assert machine.read("etc/hostname") == machine.read("proc/sys/kernel/hostname") == "notebook-7\n"
    assert "127.0.1.1 notebook-7\n" in machine.read("etc/hosts")
    assert machine.read("etc/dpe/network") == f"{SPEC.card.address}/{SPEC.card.prefix} {SPEC.card.gateway}\n"
    assert machine.read("etc/machine-id") == "the template's\n"
    assert [call.split()[0] for call in machine.called()] == ["date", "ip"]


def test_the_owners_things_come_in_the_same_breath(machine: Machine) -> None:
    machine.write("home/user/.ssh/authorized_keys", "of somebody else\n")
    done = machine.run("personalise", IDENTITY + ("\n".join(lines()) + "\n").encode())
    assert (done.returncode, done.stderr) == (0, "")
    assert machine.read("home/user/.ssh/authorized_keys") == lines()[-1].removeprefix("ssh_key ") + "\n"
    assert machine.read("run/dpe/owner.json") == next(line for line in lines() if line.startswith("owner ")).removeprefix("owner ") + "\n"
    until(lambda: "usermod --comment Alice user" in machine.called())


def test_a_fork_is_itself_before_it_has_its_address(machine: Machine) -> None:
    machine.hook("20-web", f"cat {machine.root}/etc/machine-id >> {machine.log}\n")
    machine.hook("10-database")
    machine.hook("30-notes").chmod(0o644)  # not executable: no hook
    machine.program(machine.root / "usr/sbin/sshd")
    machine.still()
    assert machine.run("personalise", IDENTITY).returncode == 0
    calls = [call for call in machine.called() if not call.startswith("date") and call != SHELLS]
    assert calls == [
        "10-database ",
        "20-web ",
        MACHINE_ID,
        "systemctl --no-block start dpe-hostkeys.service ssh.service",
        "ip -batch -",
    ]
    assert machine.read("etc/machine-id") == f"{MACHINE_ID}\n"
    machine.comes_to_hold("etc/dpe/fork", "")
    machine.comes_to_hold(FREEZER, "0\n")
    machine.comes_to_call(SHELLS)
    # Once only: the next call is for its owner.
    machine.log.unlink()
    machine.write("etc/machine-id", "as it is\n")
    assert machine.run("personalise", IDENTITY).returncode == 0
    assert [call.split()[0] for call in machine.called()] == ["date", "ip"]
    assert machine.read("etc/machine-id") == "as it is\n"


def test_a_fork_that_does_not_become_itself_gets_no_address(machine: Machine) -> None:
    machine.hook("web", "echo no such process >&2; exit 3\n")
    machine.still()
    done = machine.run("personalise", IDENTITY)
    assert done.returncode != 0
    assert "no such process" in done.stderr
    assert not (machine.root / "etc/dpe/network").exists()
    assert "ip -batch -" not in machine.called()
    # When it is told again it tries again.
    machine.hook("web")
    assert machine.run("personalise", IDENTITY).returncode == 0
    assert (machine.root / "etc/dpe/network").exists()


def test_a_kernel_that_does_not_notice_a_fork_is_given_random_numbers_first(machine: Machine) -> None:
    random = next(line for line in IDENTITY.decode().splitlines() if line.startswith("random ")).split()[1]
    machine.hook("web")
    machine.still()
    (machine.root / "sys/bus/platform/drivers/vmgenid").rmdir()
    frozen = f"cat {machine.root}/{APPLICATION} {machine.root}/{PEOPLE} {machine.root}/{FREEZER} {machine.root}/{AGENT} >> {machine.root}/frozen\n"
    machine.program(machine.root / "bin/perl", frozen)
    machine.hook("web", frozen)
    assert machine.run("personalise", IDENTITY).returncode == 0
    # Nothing else runs until then, and all of it by the time that a hook asks for it; udev looks at the card when nobody waits any more.
    assert machine.read("frozen").split() == ["1", "1", "1", "0", "0", "0", "1", "0"]
    calls = [call.split()[0] for call in machine.called() if not call.startswith("systemctl ")]  # that one nobody waits for
    assert calls == ["date", "perl", "web", "ip"]
    assert random not in "".join(machine.called())  # which anybody in the machine may see
    # A kernel that notices by itself is spared the process, and so is a machine that was booted.
    machine.log.unlink()
    machine.comes_to_hold("etc/dpe/fork", "")
    assert machine.run("personalise", IDENTITY).returncode == 0
    (machine.root / "sys/bus/acpi/drivers/vmgenid").mkdir(parents=True)
    machine.write("etc/dpe/fork", "yes\n")
    assert machine.run("personalise", IDENTITY).returncode == 0
    assert not [call for call in machine.called() if call.startswith("perl")]


def test_what_has_the_kernel_take_new_random_numbers_is_right() -> None:
    """On the kernel that runs this; it harms nobody."""
    if os.geteuid():
        pytest.skip("only root may")
    (program,) = re.findall(r"perl -e '([^']+)'", (SCRIPTS / "personalise").read_text())
    for target, status in (("/dev/urandom", 0), ("/dev/null", 25)):  # ENOTTY: it does ask the kernel
        with Path(target).open("w") as out:
            assert subprocess.run(["perl", "-e", program], stdout=out, stderr=subprocess.DEVNULL).returncode == status


# -- the data disk ------------------------------------------------------------------------------


def plug_in(machine: Machine, serial: str = disks.serial(DATA), name: str = "vdb") -> None:
    folder = machine.root / "sys/block" / name
    folder.mkdir(parents=True)
    (folder / "serial").write_text(serial)  # and no line end


def with_data(machine: Machine) -> bytes:
    """What it is told, with a folder in the folder that stands for its /."""
    told = libvirt_guest._identity(replace(SPEC, data=DATA)).decode()
    assert told.count(f" {libvirt_guest.DATA_FOLDER}\n") == 1
    return told.replace(f" {libvirt_guest.DATA_FOLDER}\n", f" {machine.root}/data\n").encode()


def mounts(machine: Machine) -> list[str]:
    return [call.replace(str(machine.root), "") for call in machine.called() if not call.startswith(("date", "ip"))]


MOUNTS = [
    "blkid -p -s TYPE -o value /dev/vdb",
    "e2fsck -p /dev/vdb",
    "mount -t ext4 -o noatime,nodev,nosuid,discard /dev/vdb /data",
    "resize2fs /dev/vdb",
]


def test_the_data_disk_is_mounted_before_anybody_can_reach_the_machine(machine: Machine) -> None:
    plug_in(machine, "of another", "vda")
    plug_in(machine)
    machine.program(machine.root / "usr/lib/dpe/folders", f'read -r key < "{machine.root}/etc/dpe/keys"; echo "$key" >&2\n')
    done = machine.run("personalise", with_data(machine) + b"user user\nssh_key ssh-ed25519 mine\n")
    assert (done.returncode, done.stderr) == (0, "ssh-ed25519 mine\n"), "a home on the disk gets the keys"
    assert mounts(machine) == [*MOUNTS, "folders /data", "chown user: /data"]
    assert machine.called()[-1] == "ip -batch -"
    assert machine.read("etc/dpe/data") == f"{disks.serial(DATA)} {machine.root}/data\n"
    assert (machine.root / "data").is_dir()
    # Once more, as after a resume: it is mounted, and may have grown.
    machine.log.unlink()
    machine.write("proc/mounts", f"/dev/vdb {machine.root}/data ext4 rw 0 0\n")
    assert machine.run("data").returncode == 0
    assert mounts(machine) == ["resize2fs /dev/vdb", "folders /data"]


def test_what_a_class_does_with_its_data_disk_is_done_when_it_is_there(machine: Machine) -> None:
    plug_in(machine)
    for name in ("10-home", "20-cache"):
        machine.program(machine.root / "usr/lib/dpe/data.d" / name)
    (machine.root / "usr/lib/dpe/data.d/README").write_text("no program\n")
    assert machine.run("personalise", with_data(machine)).returncode == 0
    assert machine.called()[-3:-1] == [f"10-home {machine.root}/data", f"20-cache {machine.root}/data"]
    machine.program(machine.root / "usr/lib/dpe/data.d/10-home", "exit 65\n")
    machine.log.unlink()
    done = machine.run("personalise", with_data(machine))  # a disk that is full keeps nobody from their machine
    assert (done.returncode, machine.called()[-1]) == (0, "ip -batch -")
    assert "data.d/10-home failed" in done.stderr
    assert f"20-cache {machine.root}/data" in machine.called()


def test_a_disk_that_is_just_coming_is_waited_for(machine: Machine) -> None:
    machine.write("etc/dpe/data", f"{disks.serial(DATA)} {machine.root}/data\n")
    command, path = [machine.root / "usr/lib/dpe/data"], f"{machine.root}/bin:{os.environ['PATH']}"
    with subprocess.Popen(command, env={**os.environ, "PATH": path}) as process:
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.2)
        assert machine.called() == []
        plug_in(machine)
        assert process.wait(10) == 0
    assert mounts(machine) == MOUNTS


@pytest.mark.badinput
@pytest.mark.parametrize(("said", "found"), [("echo xfs\n", "xfs"), ("exit 2\n", "no file system"), ("exit 8\n", "no file system")])
def test_a_disk_with_something_else_on_it_is_left_alone(machine: Machine, said: str, found: str) -> None:
    plug_in(machine)
    machine.program(machine.root / "bin/blkid", said)
    done = machine.run("personalise", with_data(machine))
    assert done.returncode == libvirt_guest.DATA_IS_NOT_OURS
    assert f"has {found} on it instead of ext4, and is left as it is" in done.stderr
    assert mounts(machine) == MOUNTS[:1]
    assert "ip -batch -" not in machine.called()


@pytest.mark.badinput
@pytest.mark.parametrize(("status", "mounted"), [(0, True), (1, True), (4, False), (8, False)])
def test_a_file_system_that_cannot_be_mended_is_not_mounted(machine: Machine, status: int, mounted: bool) -> None:
    plug_in(machine)
    machine.program(machine.root / "bin/e2fsck", f"echo inode 12 is odd; exit {status}\n")
    done = machine.run("personalise", with_data(machine))
    assert done.returncode == (0 if mounted else libvirt_guest.DATA_IS_NOT_OURS)
    assert mounts(machine) == (MOUNTS if mounted else MOUNTS[:2])
    assert mounted or "inode 12 is odd" in done.stderr


def test_it_lets_go_of_its_data_disk(machine: Machine) -> None:
    machine.write("etc/dpe/data", f"{disks.serial(DATA)} /data\n")
    machine.write("proc/mounts", "/dev/vdb /data ext4 rw 0 0\n")
    machine.program(machine.root / "bin/umount", "echo target is busy >&2; exit 32\n")
    machine.program(machine.root / "usr/lib/dpe/folders")
    assert "busy" in machine.run("data", argument="away").stderr
    assert (machine.root / "etc/dpe/data").exists()
    assert mounts(machine) == ["folders /data away", "umount /data", "folders /data"], "what is in use stays as it was"
    machine.program(machine.root / "bin/umount")
    assert machine.run("data", argument="away").returncode == 0
    assert mounts(machine)[-1] == "umount /data"
    assert not (machine.root / "etc/dpe/data").exists()


@pytest.mark.badinput
def test_what_it_was_never_told_of_is_refused_before_anything_is_done(machine: Machine) -> None:
    done = machine.run("personalise", b"colour blue\n" + IDENTITY)
    assert (done.returncode, done.stderr) == (2, "personalise: unknown key: colour\n")
    assert machine.called() == []
    assert not (machine.root / "etc/dpe/network").exists()


def test_still_leaves_nothing_that_two_forks_must_not_share(machine: Machine) -> None:
    machine.program(machine.root / "usr/sbin/sshd")
    gone = [
        "etc/ssh/ssh_host_ed25519_key",
        "etc/ssh/ssh_host_rsa_key.pub",
        "etc/dpe/network",
        "etc/dpe/data",
        "var/lib/systemd/random-seed",
    ]
    for name in (*gone, "etc/ssh/sshd_config"):
        machine.write(name, "of the template")
    done = machine.run("still")
    assert (done.returncode, done.stderr) == (0, "")
    assert [name for name in gone if (machine.root / name).exists()] == []
    assert (machine.root / "etc/ssh/sshd_config").exists()
    assert [machine.read(name) for name in (FREEZER, APPLICATION, PEOPLE, AGENT)] == ["1\n", "1\n", "1\n", "0\n"]
    assert machine.read("etc/dpe/fork")
    calls = machine.called()
    assert calls[0].startswith("systemctl stop ssh")
    assert calls[-1] == "sync "


def test_the_network_waits_for_a_card_that_is_just_coming(machine: Machine) -> None:
    machine.write("etc/dpe/network", "10.1.0.16/16 10.1.0.1\n")
    card = machine.root / "sys/class/net/eth0"
    card.rmdir()
    command = [machine.root / "usr/lib/dpe/network"]
    with subprocess.Popen(command, env={**os.environ, "PATH": f"{machine.root}/bin:{os.environ['PATH']}"}) as process:
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.2)
        assert machine.called() == []
        card.mkdir()
        assert process.wait(10) == 0
    assert machine.called() == ["ip -batch -"]


def test_the_commands_are_where_they_are_called() -> None:
    for command in (hypervisor.PERSONALISE_COMMAND, snapshots.STILL_COMMAND):
        file = REPOSITORY / "playbooks/roles/guest/files/root" / command.removeprefix("/")
        assert file.stat().st_mode & 0o111
