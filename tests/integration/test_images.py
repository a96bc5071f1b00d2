"""Disk images from outside, with the real qemu-img: what it is shown of the host when it opens them, and what of a hostile one arrives."""

import json
from pathlib import Path

import pytest

from appliance import qcow2
from appliance.errors import CommandFailed, Conflict, DpeError, Unavailable
from appliance.hypervisor.libvirt import disks
from appliance.run import run

pytestmark = pytest.mark.hostile


def made(path: Path, *options: str) -> Path:
    run(["qemu-img", "create", "-q", "-f", "qcow2", *options, path, "8M"])
    return path


def copy_of(image: Path) -> Path:
    """A copy with the manifest that makes it one, as whoever can write to the folder of copies can make it."""
    told = {"sha256": disks._digest(image), "size": image.stat().st_size, "disk": "d", "disk_size": 8 << 20}
    image.with_name(f"{image.name}.json").write_text(json.dumps(told))
    return image


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    file = tmp_path / "shadow"
    file.write_bytes(b"root:$6$secret\n".ljust(8 << 20, b"\n"))
    file.chmod(0o600)
    return file


def test_what_is_written_anew_is_the_same_disk(tmp_path: Path) -> None:
    source, target = made(tmp_path / "from.qcow2"), tmp_path / "to.qcow2"
    run(["qemu-io", "-f", "qcow2", "-c", "write -P 7 1M 64k", source])
    disks.expand(copy_of(source), target, disks.ROOT, 16 << 20)
    assert disks.virtual_size(target) == 16 << 20
    run(["qemu-io", "-f", "qcow2", "-c", "read -P 7 1M 64k", target])


def test_a_disk_with_the_content_of_a_copy_is_adopted_whosever_it_is(tmp_path: Path) -> None:
    source, target = copy_of(made(tmp_path / "from.qcow2")), tmp_path / "to.qcow2"
    disks.restore(source, target, disks.Owner("dpe-qemu", 0o600))
    disks.restore(source, target, disks.Owner("dpe-qemu", 0o600))
    run(["qemu-io", "-f", "qcow2", "-c", "write -P 7 1M 64k", target])
    with pytest.raises(Conflict, match="another content"):
        disks.restore(source, target, disks.ROOT)
    with target.open("r+b") as file:  # its first table leads nowhere
        table = int.from_bytes(file.read(48)[40:], "big")
        file.seek(table)
        file.write(b"\xff" * 8)
    with pytest.raises(Unavailable, match="could not be compared"):
        disks.restore(source, target, disks.ROOT)


def test_a_copy_with_a_file_of_the_host_below_it_brings_nothing_of_that(tmp_path: Path, secret: Path) -> None:
    hostile = copy_of(made(tmp_path / "copy.qcow2", "-b", str(secret), "-F", "raw"))
    with pytest.raises(DpeError, match="difference to another file"):
        disks.restore(hostile, tmp_path / "disk.qcow2", disks.ROOT)
    assert not (tmp_path / "disk.qcow2").exists()


def test_a_disk_whose_data_is_a_file_of_the_host_is_not_grown(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    hostile = made(tmp_path / "disk.qcow2", "-o", f"data_file={victim},data_file_raw=on")
    victim.write_bytes(b"what is another's")
    with pytest.raises(DpeError, match="data is in another file"):
        disks.check(hostile)
    with pytest.raises(DpeError, match="data is in another file"):
        disks.grow(hostile, 32 << 20)
    assert victim.read_bytes() == b"what is another's"


def test_qemu_img_reaches_nothing_else_whatever_gets_past_the_header(tmp_path: Path, secret: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hostile, target = made(tmp_path / "copy.qcow2", "-b", str(secret), "-F", "raw"), tmp_path / "to.qcow2"
    target.touch()
    monkeypatch.setattr(qcow2, "inspect", lambda _image: 8 << 20)
    with pytest.raises(CommandFailed, match="No such file"):
        qcow2.convert(hostile, target)
    assert b"secret" not in target.read_bytes()
