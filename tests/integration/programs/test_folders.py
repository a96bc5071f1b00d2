"""Folders of applications that come from the data disk: really mounted, in a namespace of their own, for one machine after another."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from appliance.settings import REPOSITORY

SCRIPT = REPOSITORY / "playbooks/roles/guest/files/root/usr/lib/dpe/folders"
OURS = re.compile(r"(?<![\w.$}])/(?=(etc|home|var)\b)")
OWNER = "nobody"
LIST = f"user {OWNER}\nservice wiki@*.service\nservice wiki.service\nfolder /home/{OWNER}\nfolder /var/lib/wiki/*/main\n"
FOLDER = "var/lib/wiki/15/main"
PAGE, HOME = f"/mnt/{FOLDER}/page", f"/mnt/home/{OWNER}"
CHANGES = ["systemctl --quiet is-active sysinit.target", "systemctl stop wiki@*.service wiki.service"]
BACK = "systemctl start wiki@*.service wiki.service"


class Machine:
    """One with a root folder, which stands at /mnt while something is done in it, and a disk that others may have had."""

    def __init__(self, root: Path, disk: Path, *, account: int = 33, keys: str = "ssh-ed25519 mine\n") -> None:
        self.root, self.disk = root, disk
        for folder in ("etc/dpe", f"home/{OWNER}/.ssh", FOLDER, "bin"):
            (root / folder).mkdir(parents=True)
        for folder in (f"home/{OWNER}", f"home/{OWNER}/.ssh"):
            os.chown(root / folder, 65534, 65534)
        (root / FOLDER / "page").write_text("as the seed has it\n")
        for name in (FOLDER, f"{FOLDER}/page"):
            os.chown(root / name, account, account)
        (root / "etc/dpe/folders").write_text(LIST.replace(" /", " /mnt/"))
        (root / "etc/dpe/keys").write_text(keys)
        (root / "folders").write_text(OURS.sub("/mnt/", SCRIPT.read_text()))
        self.program("systemctl")
        disk.mkdir(exist_ok=True)
        (root / "data").mkdir()

    def program(self, name: str, more: str = "") -> None:
        file = self.root / "bin" / name
        file.write_text(f'#!/bin/sh\necho "{name} $*" >> /mnt/called\n{more}')
        file.chmod(0o755)

    def run(self, script: str) -> str:
        """What it says, and the errors. `folders` and `away` are what is tested."""
        there = f'mount --bind "{self.root}" /mnt; mount --bind "{self.disk}" /mnt/data'
        verbs = 'folders() { sh /mnt/folders /mnt/data "$@"; }; away() { folders away; }'
        command = ["unshare", "--mount", "--propagation", "private", "/bin/sh", "-c", f"{there}\n{verbs}\nset -e\n{script}"]
        path = f"/mnt/bin:{os.environ['PATH']}"
        done = subprocess.run(
            command, env={**os.environ, "PATH": path}, text=True, timeout=60, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        return done.stdout

    def called(self) -> list[str]:
        log = self.root / "called"
        said = log.read_text().splitlines() if log.exists() else []
        log.unlink(missing_ok=True)
        return said


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    return tmp_path / "disk"


def test_what_people_wrote_is_there_in_their_next_machine(tmp_path: Path, disk: Path) -> None:
    first = Machine(tmp_path / "first", disk)
    assert (
        first.run(f"folders; cat {PAGE}; echo mine > {PAGE}; echo note > {HOME}/note; stat -c %U {HOME}")
        == f"as the seed has it\n{OWNER}\n"
    )
    assert first.called() == [*CHANGES, BACK]
    assert (first.root / FOLDER / "page").read_text() == "as the seed has it\n", "it is the disk that was written to"
    second = Machine(tmp_path / "second", disk, account=34)
    assert second.run(f"folders; folders; cat {PAGE} {HOME}/note; stat -c %u {PAGE}") == "mine\nnote\n34\n", (
        "its accounts have other numbers"
    )
    assert second.called() == [*CHANGES, BACK], "nothing is left to do the second time"


def test_they_are_where_they_were_before_when_the_disk_goes(tmp_path: Path, disk: Path) -> None:
    machine = Machine(tmp_path / "machine", disk)
    assert (
        machine.run(f"folders; echo mine > {PAGE}; away; cat {PAGE}; away; umount /mnt/data; folders; cat {PAGE}").splitlines()
        == ["as the seed has it"] * 2
    )
    assert machine.called() == [*CHANGES, BACK] * 3
    said = machine.run(f"folders; cd {HOME}; away || {{ folders; cat {PAGE}; }}")
    assert "target is busy" in said
    assert said.endswith("mine\n"), "what is in use stays"


def test_nothing_is_waited_for_while_a_machine_boots(tmp_path: Path, disk: Path) -> None:
    machine = Machine(tmp_path / "machine", disk)
    machine.program("systemctl", "exit 3\n")
    assert machine.run(f"folders; grep -c ' /mnt/{FOLDER} ' /proc/mounts") == "1\n"
    assert machine.called() == CHANGES[:1]


def test_a_copy_that_was_cut_off_is_begun_again(tmp_path: Path, disk: Path) -> None:
    machine = Machine(tmp_path / "machine", disk)
    machine.program("cp", '/bin/cp "$@"; [ -e /mnt/again ] || { touch /mnt/again; rm -r "$3/.ssh"; exit 1; }\n')
    assert machine.run(f"! folders; ls -d {HOME}/.ssh") == f"{HOME}/.ssh\n", "it stays where it is until it was copied"
    assert machine.called()[-1] == BACK, "what was stopped is started, whatever happened"
    assert machine.run(f"folders; stat -c %U {HOME}/.ssh") == f"{OWNER}\n"


def test_keys_are_the_machines_and_not_what_another_left_on_the_disk(tmp_path: Path, disk: Path) -> None:
    first = Machine(tmp_path / "first", disk, keys="ssh-ed25519 revoked\n")
    assert first.run(f"folders; cat {HOME}/.ssh/authorized_keys; echo host > {HOME}/.ssh/known_hosts") == "ssh-ed25519 revoked\n"
    second = Machine(tmp_path / "second", disk)
    assert second.run(f"folders; cat {HOME}/.ssh/*") == "ssh-ed25519 mine\nhost\n"
    assert second.run(f"folders; stat -c '%U %a' {HOME}/.ssh/authorized_keys") == f"{OWNER} 600\n"


@pytest.mark.hostile
def test_what_its_owner_made_of_the_disk_leads_root_nowhere(tmp_path: Path, disk: Path) -> None:
    first = Machine(tmp_path / "first", disk)
    (first.root / "secret").write_text("root's\n")
    (first.root / "secret").chmod(0o600)
    # Links in the home, where keys are written: to a folder, and to a file.
    first.run(f"folders; rm -r {HOME}/.ssh; ln -s /mnt/etc {HOME}/.ssh")
    assert first.run(f"folders; stat -c %F {HOME}/.ssh; ls /mnt/etc") == "directory\ndpe\n"
    assert first.run(f"folders; ln -sf /mnt/secret {HOME}/.ssh/authorized_keys; away; folders; cat /mnt/secret") == "root's\n"
    # The folder of folders is another one, or a link to one.
    kept = disk / ".applications"
    kept.rename(disk / "other")
    for make in (lambda: kept.symlink_to("/mnt/etc"), kept.mkdir):
        make()
        os.chown(kept, 65534, 65534, follow_symlinks=False)
        refused = "folders: /mnt/data/.applications is not what the appliance made, and nothing is kept\n65\n"
        assert first.run(f"folders || echo $?; cat {PAGE}") == f"{refused}as the seed has it\n"
        kept.unlink() if kept.is_symlink() else kept.rmdir()


def test_without_a_list_nothing_is_done(tmp_path: Path, disk: Path) -> None:
    machine = Machine(tmp_path / "machine", disk)
    (machine.root / "etc/dpe/folders").unlink()
    assert machine.run("folders; ls -A /mnt/data") == ""
    assert machine.called() == []
