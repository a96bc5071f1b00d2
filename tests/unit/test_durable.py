"""The one way in which a whole file is written: it is all there or none of it, on the disk, with its mode, and nobody writes another."""

import ast
import errno
import grp
import os
import stat
import threading
from pathlib import Path

import pytest

from appliance import durable
from appliance.settings import REPOSITORY

pytestmark = pytest.mark.lost

FILE, FOLDER = "file", "folder"


class Disk:
    """What is asked of the disk, in order."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: list[str] = []
        self.full = False
        fsync, rename, link = os.fsync, Path.rename, os.link

        def synced(handle: int) -> None:
            if self.full:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            self.asked.append(FOLDER if stat.S_ISDIR(os.fstat(handle).st_mode) else FILE)
            fsync(handle)

        def renamed(path: Path, target: Path) -> Path:
            self.asked.append("rename")
            return rename(path, target)

        def linked(path: Path, target: Path) -> None:
            self.asked.append("link")
            link(path, target)

        monkeypatch.setattr(os, "fsync", synced)
        monkeypatch.setattr(Path, "rename", renamed)
        monkeypatch.setattr(os, "link", linked)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


def test_content_is_on_the_disk_before_its_name_and_the_name_before_it_returns(tmp_path: Path, disk: Disk) -> None:
    durable.write(tmp_path / "one", "new")
    assert disk.asked == [FILE, "rename", FOLDER]
    assert [file.name for file in tmp_path.iterdir()] == ["one"]


def test_a_file_or_a_folder_made_elsewhere_takes_a_place_in_the_same_order(tmp_path: Path, disk: Disk) -> None:
    (tmp_path / "made").mkdir()
    (tmp_path / "fresh").write_text("new")
    durable.replace(tmp_path / "fresh", tmp_path / "one")
    durable.replace(tmp_path / "made", tmp_path / "two")
    assert disk.asked == [FILE, "rename", FOLDER, FOLDER, "rename", FOLDER]


def test_on_a_full_disk_the_file_is_as_it_was_and_nothing_is_left(tmp_path: Path, disk: Disk) -> None:
    durable.write(tmp_path / "one", "old")
    disk.full = True
    with pytest.raises(OSError, match="No space left"):
        durable.write(tmp_path / "one", "new")
    assert (tmp_path / "one").read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["one"]


def test_its_mode_and_owner_are_there_before_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, int]] = []
    rename = Path.rename

    def renamed(path: Path, target: Path) -> Path:
        found = path.stat()
        seen.append((stat.S_IMODE(found.st_mode), found.st_gid))
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", renamed)
    before = os.umask(0o077)
    try:
        durable.write(tmp_path / "secret", b"x")
        durable.write(tmp_path / "shared", b"x", mode=0o644, group=grp.getgrgid(os.getgid()).gr_name)
    finally:
        os.umask(before)
    assert seen == [(0o600, os.getgid()), (0o644, os.getgid())]


def test_a_link_in_its_place_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "theirs").write_text("theirs")
    (tmp_path / "one").symlink_to(tmp_path / "theirs")
    durable.write(tmp_path / "one", "ours")
    assert (tmp_path / "theirs").read_text() == "theirs"
    assert not (tmp_path / "one").is_symlink()


def test_many_who_write_at_once_never_mix(tmp_path: Path) -> None:
    texts = [letter * 50_000 for letter in "abcdefgh"]
    threads = [threading.Thread(target=lambda text=text: [durable.write(tmp_path / "one", text) for _ in range(5)]) for text in texts]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        assert not (tmp_path / "one").exists() or (tmp_path / "one").read_text() in texts
    assert [file.name for file in tmp_path.iterdir()] == ["one"]


def test_what_is_made_once_is_made_by_one(tmp_path: Path, disk: Disk) -> None:
    assert durable.create(tmp_path / "one", "first")
    assert disk.asked == [FILE, "link", FOLDER]
    assert not durable.create(tmp_path / "one", "second")
    assert (tmp_path / "one").read_text() == "first"
    assert [file.name for file in tmp_path.iterdir()] == ["one"]


def test_a_server_s_folder_that_cannot_be_synchronised_is_written_to_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(handle: int) -> None:
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    monkeypatch.setattr(os, "fsync", refused)
    durable.write(tmp_path / "one", "new")
    assert (tmp_path / "one").read_text() == "new"


# What is written once more by whoever needs it, or is not the product's own: no power cut matters to it.
ANEW = {
    "appliance/hypervisor/libvirt/network.py": "a switch of the kernel's",
    "appliance/hypervisor/libvirt/disks.py": "what `fresh` puts in its place",
    "appliance/seeds/build.py": "the log that a build begins, and what its end makes durable",
    "appliance/seeds/seen.py": "in the folder of a build, whose end makes it durable",
    "appliance/seeds/guard.py": "switches of the kernel's",
    "appliance/seeds/sandbox.py": "what a sandbox reads",
    "appliance/packages/refresh.py": "what apt is told, in a folder that goes with it",
    "appliance/seeds/play.py": "what ansible-runner is started with",
    "appliance/host/backup/appliance_backup.py": "in a folder that is gone with the backup that it is for",
    "appliance/workflow/document.py": "of the sources",
    "webui/dashboard.py": "the same",
    "appliance/scenario/document.py": "the same",
    "appliance/catalog/document.py": "the same",
    "image-build/build.py": "in a tree that is built anew",
    "image-build/disk.py": "the same",
    "playbooks/plugins/connection/dpe_agent.py": "fetched for Ansible",
}
RENAMES = {  # of what is whole on the disk already, or goes out of the way
    "appliance/host/system/config.py",
    "appliance/host/backup/catalog_copies.py",
    "appliance/host/backup/restore.py",
    "appliance/host/updates/installation.py",
    "appliance/host/disks/ballast.py",
    "image-build/build.py",
}


@pytest.mark.parametrize("folder", ["appliance", "webui", "image-build", "playbooks"])
def test_nobody_writes_whole_files_by_hand(folder: str) -> None:
    found = {(name, str(file.relative_to(REPOSITORY))) for file in (REPOSITORY / folder).rglob("*.py") for name in _calls(file)}
    written = {file for name, file in found if name in ("write_text", "write_bytes")}
    assert written - {"appliance/durable.py"} <= set(ANEW), "use appliance.durable"
    assert {file for name, file in found if name == "rename"} - {"appliance/durable.py"} <= RENAMES, "use appliance.durable"


def _calls(file: Path) -> set[str]:
    """The methods that a file of Python calls; `rename` of files alone, which has one argument."""
    calls = (node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Call))
    return {
        call.func.attr for call in calls if isinstance(call.func, ast.Attribute) and (call.func.attr != "rename" or len(call.args) == 1)
    }
